"""Reads the code blocks of the user documents and runs them as a reader would, from top to bottom.

A block is fenced as python, bash, json or toml; of indented text, lines that start with one of our commands are run,
unless they have a placeholder. A marker in a comment line before a fence says what else is done with it:

* ``<!-- file: NAME -->``: the block is the content of that file, which is written, and not run;
* ``<!-- check: signature NAME -->``: it shows a signature, which is compared with the real one;
* ``<!-- check: result -->``: it shows keys and types, which are compared with the last result.

Other languages (``text``, ``console``) are not run. A function that a block defines is called when the reader has all
of its arguments at hand.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```[ ]*$", re.M | re.S)
MARKER = re.compile(r"<!-- (file|check): ([^>]+?) -->\s*\Z")
RUN = ("python", "bash", "json", "toml")
INDENTED = re.compile(r"(?<=\n\n)((?:    [^\n]*\n)+)")
COMMANDS = ("modelexport", "htp-opt")
OUTSIDE = (
    "pip",
    "git",
    "make",
    "cd",
    "python",
    "python3",
    "uv",
    "eval",
    "source",
    ".",
)  # what the tests leave to the reader


@dataclass(frozen=True)
class Block:
    document: Path
    line: int
    language: str
    code: str
    marker: tuple[str, str] | None

    @property
    def where(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks(document: Path) -> list[Block]:
    """The blocks of a document that can be run, in order."""
    text = document.read_text(encoding="utf-8")
    return sorted([*_fenced(document, text), *_indented(document, text)], key=lambda block: block.line)


def _indented(document: Path, text: str) -> Iterator[Block]:
    outside = FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    for match in INDENTED.finditer(outside):
        lines = [line for line in textwrap.dedent(match[1]).splitlines() if line.split(" ")[0] in COMMANDS]
        lines = [line for line in lines if not re.search(r"\b[A-Z]{3,}\b", line.partition("#")[0])]
        if lines:
            yield Block(document, outside.count("\n", 0, match.start()) + 1, "bash", "\n".join(lines), None)


def _fenced(document: Path, text: str) -> Iterator[Block]:
    for match in FENCE.finditer(text):
        language = match[2]
        if language not in RUN:
            continue
        marker = MARKER.search(text[: match.start()])
        yield Block(
            document,
            text.count("\n", 0, match.start()) + 2,
            language,
            textwrap.dedent(match[3]),
            (marker[1], marker[2]) if marker else None,
        )


class Reader:
    """Somebody who works through one document in one folder."""

    def __init__(self, run: Callable[[list[str]], int]) -> None:
        self.names: dict[str, Any] = {"__name__": "example"}
        self.run_command = run

    def read(self, block: Block, setenv: Callable[[str, str], None]) -> None:
        """Do what the block says; what it exports holds as long as ``setenv`` makes it. Raises AssertionError, or what
        its code raises."""
        kind, what = block.marker or ("", "")
        if kind == "file":
            Path(what).write_text(block.code, encoding="utf-8")
        elif what.startswith("signature "):
            self._check_signature(block, what.removeprefix("signature "))
        elif what == "result":
            self._check_result(block)
        elif block.language == "json":
            json.loads(block.code)
        elif block.language == "toml":
            tomllib.loads(block.code)
        elif block.language == "bash":
            self._bash(block, setenv)
        else:
            self._python(block)

    def _python(self, block: Block) -> None:
        before = dict(self.names)
        code = compile("\n" * (block.line - 1) + block.code, str(block.document), "exec")
        exec(code, self.names)
        for name, value in list(self.names.items()):
            if inspect.isfunction(value) and before.get(name) is not value and not name.startswith("_"):
                needed = [p.name for p in inspect.signature(value).parameters.values() if p.default is p.empty]
                if all(one in self.names for one in needed):
                    answer = value(*[self.names[one] for one in needed])
                    if isinstance(answer, dict):
                        self.names["result"] = answer

    def _bash(self, block: Block, setenv: Callable[[str, str], None]) -> None:
        for line in block.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            if words[:2] == ["uv", "run"]:
                words = words[2:]
            if words[0] == "export":
                for setting in words[1:]:
                    setenv(*setting.split("=", 1))
            elif words[0] in COMMANDS:
                expected = 1 if re.search(r"#.*\bexit(s| code)? 1\b", line) else 0
                if ">" in words:
                    at = words.index(">")
                    with Path(words[at + 1]).open("w", encoding="utf-8") as stream, redirect_stdout(stream):
                        code = self.run_command(words[:at])
                else:
                    code = self.run_command(words)
                assert code == expected, f"{block.where}: {line.strip()}: exit code {code}"
            else:
                assert words[0] in OUTSIDE, f"{block.where}: don't know how to run {line.strip()}"

    def _check_signature(self, block: Block, name: str) -> None:
        head, _, member = name.partition(".")
        real: Any = self.names[head]
        real = getattr(real, member) if member else real.__init__
        shown = _signature_in(block.code)
        parameters = inspect.signature(real).parameters
        for argument, default in shown.items():
            if argument.startswith("**"):
                assert any(p.kind is p.VAR_KEYWORD for p in parameters.values()), f"{block.where}: no {argument}"
                continue
            assert argument in parameters, f"{block.where}: {name} has no argument {argument}"
            assert default is None or ast.literal_eval(default) == parameters[argument].default, (
                f"{block.where}: {argument} has another default"
            )
        positional = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]
        wanted = [argument for argument in shown if not argument.startswith("*")]
        assert positional[: len(wanted)] == wanted, f"{block.where}: {name} takes {positional}"

    def _check_result(self, block: Block) -> None:
        shown = eval(block.code, {"Dict": dict})
        _check_shape(shown, self.names["result"])


def _check_shape(shown: Mapping[str, Any], real: Mapping[str, Any]) -> None:
    for key, kind in shown.items():
        assert key in real, f"the result has no {key}"
        if isinstance(kind, dict):
            _check_shape(kind, real[key])
            continue
        kind = getattr(kind, "__origin__", kind)
        assert isinstance(real[key], kind), f"{key} is {type(real[key]).__name__}, documented as {kind.__name__}"
        assert kind is not int or not isinstance(real[key], bool), f"{key} is a bool"


def _signature_in(code: str) -> dict[str, str | None]:
    """Arguments of the one function that a block shows without a body, each with its default as text."""
    tree = ast.parse(code.rstrip().removesuffix(":") + ": ...")
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    found: dict[str, str | None] = {}
    arguments = function.args.args
    defaults = [None] * (len(arguments) - len(function.args.defaults)) + [
        ast.unparse(d) for d in function.args.defaults
    ]
    for argument, default in zip(arguments, defaults, strict=True):
        if argument.arg != "self":
            found[argument.arg] = default
    if function.args.kwarg:
        found["**" + function.args.kwarg.arg] = None
    return found
