"""Speed and memory of htp-opt, measured against a process that only parses and serialises the same file.

    python bench/speed.py [--repeat N] [--million] [--passes TEXT] [--keep DIR] [--json FILE]

Every measurement is a fresh process, floor and htp-opt in turn; the fastest counts, since all that makes a run slower
is something else on the machine. "Over process start" means: minus the wall time of ``python -c pass``, on both sides.
The stricter rows take the wall time of ``python -c "import onnx"`` from both sides instead. Prints one table and ends
with status 0 also where a target is missed: a benchmark is no test.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

FLOOR = "import onnx, sys; onnx.load(sys.argv[1], load_external_data=False).SerializeToString()"
# The installed script without needing to find it: what its wrapper does.
HTP_OPT = "import sys; sys.argv[0] = 'htp-opt'; from modelexport.cli.htp_opt import main; sys.exit(main())"
GRAPHS = Path(__file__).parent / "inputs" / "speed_graphs.py"


@dataclass(frozen=True)
class Run:
    """Wall time in seconds, peak resident memory in MB and processor time in seconds of one process."""

    seconds: float
    peak_mb: float
    cpu: float = 0.0


@dataclass(frozen=True)
class Row:
    """One line of the table. ``limit`` is the largest value that meets the target, None where there is no target."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    detail: str = ""

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return ""
        return "met" if self.value <= self.limit else "missed"


def run(*arguments: str | Path) -> Run:
    """Run this Python with the arguments. Raises CalledProcessError when it fails.

    The peak is the child's own: this process stays small, since on Linux a child's peak begins with its parent's.
    """
    command = [sys.executable, *(str(argument) for argument in arguments)]
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            raise subprocess.CalledProcessError(child.returncode, command, stderr=errors.read().decode())
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return Run(seconds, usage.ru_maxrss / unit, usage.ru_utime + usage.ru_stime)


def alternate(repeat: int, *commands: tuple[str | Path, ...]) -> list[Run]:
    """The fastest run of each command, run in turn so that a busy machine slows all of them alike; the largest peak."""
    runs: list[list[Run]] = [[] for _ in commands]
    for _ in range(repeat):
        for collected, command in zip(runs, commands, strict=True):
            collected.append(run(*command))
    return [
        Run(min(one.seconds for one in some), max(one.peak_mb for one in some), min(one.cpu for one in some))
        for some in runs
    ]


def graph_rows(folder: Path, sizes: list[int], repeat: int, passes: str) -> list[Row]:
    """Rows for graphs of each size, and for the growth from 10,000 to 100,000 nodes."""
    rows: list[Row] = []
    over: dict[int, float] = {}
    strict: dict[int, float] = {}
    for size in sizes:
        source, output = folder / f"n{size}.onnx", folder / f"n{size}.tagged.onnx"
        run(GRAPHS, str(size), source)
        few = repeat if size <= 100_000 else 1
        start, base, floor, tool = alternate(
            few,
            ("-c", "pass"),
            ("-c", "import onnx"),
            ("-c", FLOOR, source),
            ("-c", HTP_OPT, source, "-o", output, "--passes", passes, "-q"),
        )
        over[size] = tool.seconds - start.seconds
        strict[size] = tool.seconds - base.seconds
        detail = (
            f"{tool.seconds:.2f} s against {floor.seconds:.2f} s, {tool.peak_mb:.0f} MB against {floor.peak_mb:.0f} MB"
        )
        whole = tool.seconds / floor.seconds
        ratio = over[size] / (floor.seconds - start.seconds)
        hard = strict[size] / max(floor.seconds - base.seconds, 1e-3)
        if size == 1000:
            rows.append(Row("1,000 nodes: whole command / floor process", whole, "x", 3, detail))
            continue
        large = size == 100_000
        rows += [
            Row(f"{size:,} nodes: wall over process start / floor", ratio, "x", 15 if large else None, detail),
            Row(f"{size:,} nodes: wall over import onnx / floor", hard, "x"),
            Row(f"{size:,} nodes: peak memory / floor", tool.peak_mb / floor.peak_mb, "x", 3 if large else None),
        ]
    rows.append(Row("growth exponent 10,000 to 100,000 over process start", growth(over), "", 1.05))
    rows.append(Row("growth exponent 10,000 to 100,000 over import onnx", growth(strict), ""))
    return rows


def growth(seconds: dict[int, float]) -> float:
    """1.0 is linear: the exponent e of time ~ nodes ** e."""
    return math.log10(seconds[100_000] / seconds[10_000])


def start_rows(repeat: int) -> list[Row]:
    """Rows for the time to first output."""
    names = ("--version", "--help")
    start, *tools = alternate(repeat, ("-c", "pass"), *(("-c", HTP_OPT, name) for name in names))
    return [
        Row(f"htp-opt {name} / python -c pass", tool.seconds / start.seconds, "x", 8, f"{tool.seconds * 1000:.0f} ms")
        for name, tool in zip(names, tools, strict=True)
    ]


def external_rows(folder: Path) -> list[Row]:
    """Rows for a model with 2.5 GB of external data: written beside it, and to another folder with a copy."""
    run(GRAPHS, "0", folder)
    source, elsewhere = folder / "big.onnx", folder / "elsewhere"
    elsewhere.mkdir()
    rows = []
    for name, output in {"same folder": folder / "tagged.onnx", "data copied": elsewhere / "tagged.onnx"}.items():
        tool = run("-c", HTP_OPT, source, "-o", output, "-q")
        present = (output.parent / "big.onnx.data").stat().st_size == (folder / "big.onnx.data").stat().st_size
        detail = f"{tool.seconds:.2f} s, data {'beside' if present else 'missing from'} the output"
        rows.append(Row(f"2.5 GB external data, {name}: peak memory", tool.peak_mb, "MB", 150, detail))
    return rows


def environment() -> str:
    """One line that says what was measured on what."""
    packages = ("modelexport", "onnx", "protobuf", "networkx", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return f"Python {platform.python_version()}, {versions}; {machine}"


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, aligned so that it reads as plain text too."""
    cells = [("measurement", "value", "target", "", "detail")]
    for row in rows:
        limit = "" if row.limit is None else f"<= {row.limit:g} {row.unit}".rstrip()
        cells.append((row.name, f"{row.value:.2f} {row.unit}".rstrip(), limit, row.verdict, row.detail))
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each command (default 5)")
    parser.add_argument(
        "--million", action="store_true", help="also a graph of 1,000,000 nodes, once (needs some 10 GB)"
    )
    parser.add_argument("--passes", default="htp", help="pipeline to measure (default htp)")
    parser.add_argument("--keep", type=Path, help="folder to leave the files in; else a temporary one")
    parser.add_argument("--json", type=Path, help="also write the rows as JSON")
    options = parser.parse_args()

    sizes = [1000, 10_000, 100_000] + ([1_000_000] if options.million else [])
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            rows = start_rows(4 * options.repeat)
            rows += graph_rows(folder, sizes, options.repeat, options.passes)
            rows += external_rows(Path(temporary))
        except subprocess.CalledProcessError as error:
            sys.exit(f"a measured process failed: {' '.join(error.cmd[1:])[:200]}\n{error.stderr}")
    print(f"{environment()}; fastest of {options.repeat} runs\n")
    print(table(rows))
    if options.json:
        content = {"environment": environment(), "rows": [vars(row) | {"verdict": row.verdict} for row in rows]}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
