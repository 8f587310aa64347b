"""Golden tests of the command line: model, commands and expected output in one file under tests/golden.

A file is prose up to its first section. A section ``== NAME.onnx`` is a model in ONNX text (see passes.testing),
one ``== NAME`` any other file; ``== $ COMMAND`` is a command and what it prints: stdout, then stderr with ``! `` before
each line, then ``[STATUS]`` unless that is 0. ``...`` in a line stands for any text, alone on a line for any lines.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelexport.cli import htp_opt
from modelexport.passes.testing.text import read_text

GOLDEN = Path(__file__).parent.parent / "golden"


def sections(text: str) -> Iterator[tuple[str, str]]:
    _, *parts = re.split(r"^== ", text, flags=re.MULTILINE)
    for part in parts:
        title, _, body = part.partition("\n")
        yield title.strip(), body.strip("\n")


def matches(expected: str, actual: str) -> bool:
    pattern = "".join(
        r"(?:.*\n)*" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n"
        for line in expected.splitlines()
    )
    return re.fullmatch(pattern, actual) is not None


def run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    program, *arguments = shlex.split(command)
    assert program == "htp-opt"
    status = htp_opt.main(arguments)
    printed = capsys.readouterr()
    lines = [line.rstrip() for line in printed.out.splitlines()]
    lines += [f"! {line}".rstrip() for line in printed.err.splitlines()]
    return "".join(f"{line}\n" for line in [*lines, *([f"[{status}]"] if status else [])])


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_golden(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    monkeypatch.setenv("COLUMNS", "100")
    commands = 0
    for title, body in sections(path.read_text("utf-8")):
        if title.startswith("$ "):
            actual = run(title[2:], capsys)
            assert matches(body, actual), f"{path.name}: $ {title[2:]}\n--- expected\n{body}\n--- printed\n{actual}"
            commands += 1
        elif title.endswith(".onnx"):
            Path(title).write_bytes(read_text(body)[0].SerializeToString())
        else:
            Path(title).write_text(body + "\n", "utf-8")
    assert commands


def test_a_difference_is_seen() -> None:
    assert matches("a ... c\n...\nz", "a b c\n1\n2\nz\n")
    assert matches("...\nz", "z\n")
    assert not matches("a", "a\nb\n")
    assert not matches("a.c", "abc\n")
