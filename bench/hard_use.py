"""htp-opt and the reading commands on graphs that are hard: time and memory beside the floor.

    python bench/hard_use.py [--case NAME ...] [--repeat N] [--json FILE]

The floor is a process that only parses and serialises the same file. Every measurement is a fresh process, and what
starting Python takes is subtracted on both sides. Processor time and not wall time is shown, so that a busy machine
says the same; the fastest of the runs counts, and the largest peak. The graphs come from ``inputs/hard_graphs.py``. The
million nodes need some 6 GB, and are measured once with htp-opt alone. Ends with status 1 only where a measured
process fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("inputs")))
import hard_graphs
from speed import FLOOR, HTP_OPT, alternate, environment, run

GRAPHS = Path(__file__).parent / "inputs" / "hard_graphs.py"
MODELEXPORT = "import sys; sys.argv[0] = 'modelexport'; from modelexport.cli.modelexport import main; sys.exit(main())"
Commands = dict[str, tuple[str | Path, ...]]
Row = tuple[str, str, float, float, float, float]  # case, command, seconds, floor's, MB, floor's


def commands(source: Path, folder: Path, few: bool) -> Commands:
    """What is measured, by name; each ends with status 0 on a valid file."""
    tagged = folder / f"{source.stem}.tagged.onnx"
    listed: Commands = {"htp-opt -o": ("-c", HTP_OPT, source, "-o", tagged, "-q")}
    if not few:
        listed["modelexport analyze"] = ("-c", MODELEXPORT, "analyze", tagged)
        listed["modelexport diff"] = ("-c", MODELEXPORT, "diff", tagged, tagged)
        listed["modelexport view"] = ("-c", MODELEXPORT, "view", tagged, "-o", folder / f"{source.stem}.html")
    return listed


def measure(name: str, source: Path, folder: Path, repeat: int, few: bool) -> list[Row]:
    rows: list[Row] = []
    for label, command in commands(source, folder, few).items():
        start, floor, tool = alternate(repeat, ("-c", "pass"), ("-c", FLOOR, source), command)
        seconds = (tool.cpu - start.cpu, floor.cpu - start.cpu)
        rows.append((name, label, *seconds, tool.peak_mb, floor.peak_mb))
    return rows


def table(rows: list[Row]) -> str:
    cells = [("graph", "command", "processor time", "floor", "peak memory", "floor")]
    for name, label, seconds, base, peak, low in rows:
        cells.append((name, label, f"{seconds:.2f} s", f"{base:.2f} s", f"{peak:.0f} MB", f"{low:.0f} MB"))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
             for line in cells]  # fmt: skip
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*hard_graphs.CASES, "external"]
    parser.add_argument("--case", action="append", choices=known, help="only this graph (more than once: these)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each command (default 3)")
    parser.add_argument("--json", type=Path, help="also write the rows as JSON")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            for case in options.case or known:
                if case == "external":
                    run(GRAPHS, case, folder)
                    name, source = f"{hard_graphs.GIGABYTES} GB of external data, sparse", folder / "big.onnx"
                else:
                    name, source = hard_graphs.CASES[case][0], folder / f"{case}.onnx"
                    run(GRAPHS, case, source)
                few = case == "million"
                rows += measure(name, source, folder, 1 if few else options.repeat, few)
                if case == "external":  # elsewhere, so that the data must be copied
                    (folder / "elsewhere").mkdir()
                    copied = ("-c", HTP_OPT, source, "-o", folder / "elsewhere" / "big.onnx", "-q")
                    start, floor, tool = alternate(1, ("-c", "pass"), ("-c", FLOOR, source), copied)
                    seconds = (tool.cpu - start.cpu, floor.cpu - start.cpu)
                    rows.append((name, "htp-opt -o, data copied", *seconds, tool.peak_mb, floor.peak_mb))
                source.unlink()
        except subprocess.CalledProcessError as error:
            sys.exit(f"a measured process failed: {' '.join(error.cmd[1:])[:200]}\n{error.stderr}")
    print(f"{environment()}; fastest of {options.repeat} runs\n")
    print(table(rows))
    if options.json:
        keys = ("graph", "command", "seconds", "floor_seconds", "peak_mb", "floor_peak_mb")
        content = [dict(zip(keys, row, strict=True)) for row in rows]
        options.json.write_text(json.dumps({"environment": environment(), "rows": content}, indent=2) + "\n")


if __name__ == "__main__":
    main()
