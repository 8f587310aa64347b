"""What the commands share: how a program ends, and how reports, tables and trees are printed.

Results go to stdout, talk to stderr. Nothing here imports onnx or rich, so help and version stay quick.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

FINDINGS, USAGE, CRASH, INTERRUPTED = 1, 2, 3, 130


class ReaderGone(Exception):
    """Whoever read our stdout has closed it."""


def run_guarded(command: click.Command, prog: str, args: Sequence[str] | None = None) -> int:
    """Run a click command and return the exit code: its own int result, or the code of what it raised.

    An error is one ``error:`` line on stderr, one in a text also shows the column; the traceback needs ``--debug``.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments
    try:
        result = command.main(args=arguments, prog_name=prog, standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (ReaderGone, BrokenPipeError):
        return _reader_gone()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost guard: one line, the traceback only when asked for
        if debug:
            traceback.print_exc()
        return report_error(error)
    finally:
        if args is None:  # the process ends: spare the collector to take a large model apart
            gc.freeze()


def report_error(error: Exception) -> int:
    """Print one ``error:`` line for ``error`` and return its exit code."""
    from modelexport.ir.errors import ModelExportError, TextError

    if isinstance(error, ModelExportError):
        say(f"error: {one_line(str(error))}")
        if isinstance(error, TextError) and error.caret():
            say(error.caret())
        return error.exit_code
    if isinstance(error, MemoryError):
        say("error: out of memory")
        return USAGE
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        say(f"error: {one_line(where + (error.strerror or str(error)))}")
        return USAGE
    say(f"error: internal error, {one_line(f'{type(error).__name__}: {error}')}; --debug shows where")
    return CRASH


def one_line(text: str) -> str:
    """``text`` on one line: spaces for line breaks, other characters that can't be shown escaped."""
    shown = (c if c.isprintable() else " " if c.isspace() else c.encode("unicode_escape").decode() for c in text)
    return " ".join("".join(shown).split())


def say(text: str, *, newline: bool = True) -> None:
    """Talk: a line on stderr. Characters that the terminal can't show are escaped."""
    click.echo(_encodable(text, sys.stderr), err=True, nl=newline)


def warn(message: str) -> None:
    """A warning line on stderr."""
    say(f"warning: {one_line(message)}")


def progress(done: int, total: int) -> None:
    """Progress of a long step on a terminal: a percentage that overwrites itself and is gone at the end."""
    say(f"\r{100 * done // total:3d}% " if done < total else "\r     \r", newline=False)


def put(text: str, *, to_stderr: bool = False) -> None:
    """A result: text on stdout, or on stderr where stdout carries the model.

    Raises:
        ReaderGone: stdout was closed by its reader.
    """
    try:
        click.echo(_encodable(text, sys.stderr if to_stderr else sys.stdout), err=to_stderr)
    except BrokenPipeError:
        raise ReaderGone from None


def put_bytes(data: bytes) -> None:
    """A result: bytes on stdout. Raises OutputError when nobody takes them."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        _reader_gone()
        from modelexport.ir.errors import OutputError

        raise OutputError(f"stdout: {error.strerror or error}; the model is incomplete") from None


def put_json(data: Any, *, to_stderr: bool = False) -> None:
    """A result as one JSON document. Raises ReaderGone."""
    put(json.dumps(data, indent=2), to_stderr=to_stderr)


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> str:
    """Columns under a header: the first ``left`` ones to the left, the others to the right."""
    cells = [tuple(header), *(tuple(map(_cell, row)) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = (
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
    return "\n".join(lines)


def module_tree(modules: Sequence[Mapping[str, Any]], *, depth: int | None = None) -> str:
    """The tree of a summary's ``modules`` with each module's own nodes and those of its whole subtree."""
    depths: dict[str, int] = {}
    tags: dict[str, str] = {}
    rows: list[tuple[str, object, object]] = []
    for module in modules:
        parent = module["parent"]
        level = depths.get(parent, -1) + 1 if parent is not None else 0
        depths[module["path"]], tags[module["path"]] = level, module["tag"]
        above = tags.get(parent, "") if parent is not None else ""
        segment = module["tag"].removeprefix(above + "/") if above else module["tag"]
        if depth is None or level <= depth:
            rows.append((f"{'  ' * level}{segment}", module["nodes"], module["total_nodes"]))
    return table(("module", "nodes", "with inner"), rows)


def summary_text(summary: Mapping[str, Any]) -> str:
    """A summary for people: totals, coverage by source, the module tree."""
    total, tagged, unique = (summary[key] for key in ("total_operations", "tagged_operations", "unique_tags"))
    parts = [
        f"{summary['model_path']}: {tagged} of {total} nodes tagged, "
        f"{unique} different {'tag' if unique == 1 else 'tags'}",
        source_table(summary),
    ]
    if summary["modules"]:
        parts.append(module_tree(summary["modules"]))
    return "\n\n".join(part for part in parts if part)


def source_table(summary: Mapping[str, Any]) -> str:
    """Coverage by source, the untagged last."""
    total = summary["total_operations"]
    counts = dict(summary["by_source"])
    if total > summary["tagged_operations"]:
        counts["(no tag)"] = total - summary["tagged_operations"]
    return table(("source", "nodes", "share"), [(name, n, f"{n / total:.1%}") for name, n in counts.items()])


def print_report(summary: Mapping[str, Any], form: str = "table", *, to_stderr: bool = False) -> None:
    """Print a summary as ``table`` or ``json``. Raises ReaderGone."""
    if form == "json":
        put_json(summary, to_stderr=to_stderr)
    else:
        put(summary_text(summary), to_stderr=to_stderr)


def explanation_text(
    name: str, skipped: str, notes: Mapping[str, object], decisions: Sequence[Mapping[str, Any]]
) -> str:
    """Every decision of one pass as a table, after what the pass noted."""
    if skipped:
        return f"{name} was skipped: {skipped}"
    from modelexport.passes.report import note_text

    said = "".join(f"\n  {key}: {text}" for key, value in notes.items() if (text := note_text(value)))
    head = f"{name} decided {len(decisions)} node{'' if len(decisions) == 1 else 's'}{said}"
    if not decisions:
        return head
    rows = [
        (
            each["node"],
            each["op_type"],
            each["path"] or ".",
            f"{each['source']}/{each['rule']}",
            f"{each['confidence']:.2f}",
            " ".join(each["evidence"][:3]) + (" ..." if len(each["evidence"]) > 3 else ""),
            each["replaced"] or "",
        )
        for each in decisions
    ]
    header = ("node", "operator", "path", "why", "confidence", "evidence", "replaced")
    return f"{head}\n\n{table(header, rows, left=len(header))}"


def listing_text(listing: Mapping[str, Any]) -> str:
    """Passes with their options, then named pipelines."""
    parts = []
    for each in listing["passes"]:
        facts = [f"requires {', '.join(each['requires'])}"] if each["requires"] else []
        facts += [f"establishes {', '.join(each['establishes'])}"] if each["establishes"] else []
        origin = "" if each["origin"] == "modelexport" else f"  [{each['origin']}]"
        lines = [f"{each['name']}{origin}", f"    {each['summary']}"]
        lines += [f"    {'; '.join(facts)}"] if facts else []
        for option in each["options"]:
            default = "must be given" if option["default"] is None else f"default {option['default']}"
            doc = f"\n        {option['doc']}" if option.get("doc") else ""
            lines.append(f"    {option['name']}=<{option['type']}>  {default}{doc}")
        parts.append("\n".join(lines))
    named = [(f"{name} =", text) for name, text in listing["pipelines"].items()]
    parts.append(table(("named pipelines", ""), named, left=2))
    return "\n\n".join(parts)


class TalkHandler(logging.Handler):
    """Log records as talk, on whatever stderr is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        say(f"{record.levelname.lower()}: {one_line(self.format(record))}")


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _encodable(text: str, stream: Any) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _reader_gone() -> int:
    """Let the interpreter's last flush of stdout go nowhere, quietly."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is not a file of the system's
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it lives until the process ends
    return 0
