"""``modelexport batch``: many models, on workers of joblib's, dask's or ray's."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelexport.cli.console import put, say, warn
from modelexport.cli.options import talk, talk_options

if TYPE_CHECKING:
    from modelexport.cli.batching.manifest import Entry
    from modelexport.cli.batching.scheduling import Backend


@click.command("batch", short_help="Export many models, each in its own process.")
@click.argument("manifest", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Where result lines are kept for a"
              " later run [MANIFEST.results.jsonl].")  # fmt: skip
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Models at a time.")
@click.option("--backend", type=click.Choice(["loky", "dask", "ray"]), default="loky", show_default=True,
              help="Who runs the workers.")  # fmt: skip
@click.option("--address", help="Scheduler of a running dask or ray cluster; without it a local one is started.")
@click.option("--dashboard", is_flag=True, help="Let a local dask or ray cluster serve its dashboard.")
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), help="Seconds per model.")
@click.option("--memory-limit", type=click.IntRange(min=1), help="Resident memory per model, in MB.")
@click.option("--resume/--fresh", default=True, show_default="resume", help="Pass over what an earlier run has done,"
              " or export it again.")  # fmt: skip
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write sums over all models: how they"
              " ended, and operators by the source of their tags (JSON).")  # fmt: skip
@talk_options
def command(
    manifest: Path,
    results: Path | None,
    jobs: int,
    backend: Backend,
    address: str | None,
    dashboard: bool,
    time_limit: float | None,
    memory_limit: int | None,
    resume: bool,
    report: Path | None,
) -> None:
    """Export many models, each in its own process.

    MANIFEST is JSON Lines, one {"model", "output", ...} per line, or TOML with [[models]] tables; further keys are
    those of export's configuration file, and config, input_shape, trust_remote_code, allow_pickle, time_limit,
    memory_limit_mb. One JSON line per model goes to stdout as it ends. A model that fails does not stop the rest; a
    second run exports only what is not done. The exit code is 1 when a model failed.

    \b
    Examples:
      modelexport batch models.jsonl --jobs 4 --time-limit 600 --memory-limit 8000
      modelexport batch models.toml --backend dask --address tcp://scheduler:8786 --jobs 16 --report sums.json
    """
    from modelexport.cli.batching.manifest import read_manifest
    from modelexport.cli.batching.totals import in_words, totals
    from modelexport.ir.io.atomic import atomic_output, check_writable

    if (address or dashboard) and backend == "loky":
        raise click.UsageError(f"{'--address' if address else '--dashboard'} needs --backend dask or ray")
    if report is not None:
        check_writable(report)
    entries = read_manifest(manifest)
    kept = results or manifest.with_name(f"{manifest.name}.results.jsonl")
    done = _read_results(kept) if resume else {}
    todo: list[tuple[Entry, str]] = []
    lines: list[dict[str, Any]] = []
    for entry in entries:
        mark = entry.fingerprint()
        earlier = done.get(mark)
        if earlier is not None and earlier["status"] == "ok" and entry.output.exists():
            lines.append({**earlier, "resumed": True})
            put(json.dumps(lines[-1]))
        else:
            todo.append((entry, mark))
    talk().say(f"{len(entries) - len(todo)} of {len(entries)} done earlier")
    with _appending(kept) as append:
        _bar(lines, len(entries))
        for line in _run(todo, backend, address, jobs, dashboard, time_limit, memory_limit):
            text = json.dumps(line)
            append(text)
            lines.append(line)
            _bar(None, 0)
            put(text)
            talk().say(f"{line['model']}: {line['status']} in {line['seconds']:.1f} s")
            _bar(lines, len(entries))
        _bar(None, 0)
    found = totals(lines)
    if report is not None:
        with atomic_output(report) as stream:
            stream.write(json.dumps(found, indent=2).encode() + b"\n")
    talk().say(in_words(found))
    failed = len(found["failed"])
    if failed:
        warn(f"{failed} of {len(entries)} models failed; see {kept}")
        click.get_current_context().exit(1)


def _bar(lines: list[dict[str, Any]] | None, total: int) -> None:
    """How many models are done, on a terminal, in a line that overwrites itself; ``None`` takes it away."""
    if not sys.stderr.isatty():
        return
    if lines is None:
        say(f"\r{'':60}\r", newline=False)
        return
    done, wrong = len(lines), sum(line["status"] != "ok" for line in lines)
    filled = 30 * done // total
    more = f", {wrong} failed" if wrong else ""
    say(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done} of {total}{more}", newline=False)


def _run(
    todo: list[tuple[Entry, str]],
    backend: Backend,
    address: str | None,
    jobs: int,
    dashboard: bool,
    time_limit: float | None,
    memory_limit: int | None,
) -> Iterator[dict[str, Any]]:
    """Result lines, as the models end."""
    if not todo:
        return
    from modelexport.cli.batching.scheduling import run

    work = [(entry, mark, time_limit, memory_limit) for entry, mark in todo]
    for (entry, mark, *_), line in run(backend, address, jobs, dashboard, say, _one, work):
        whole = {"model": entry.model, "output": str(entry.output), **line}
        yield {**whole, "resumed": False, "fingerprint": mark}


def _one(entry: Entry, mark: str, time_limit: float | None, memory_limit: int | None) -> dict[str, Any]:
    from modelexport.cli.batching.worker import run_entry

    own = dict(entry.own)
    seconds = own.pop("time_limit", time_limit)
    megabytes = own.pop("memory_limit_mb", memory_limit)
    request = {"model": entry.model, "output": str(entry.output), "options": entry.options, **own}
    return run_entry(request, seconds, megabytes)


def _read_results(path: Path) -> dict[str, dict[str, Any]]:
    """Earlier lines by fingerprint, the last one counts; a line that is damaged or cut off is passed over."""
    from modelexport.cli.schema import check, schema
    from modelexport.ir.errors import ConfigError

    lines: dict[str, dict[str, Any]] = {}
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        from modelexport.ir.errors import InputError

        raise InputError(f"{path}: can't be read: {error}") from error
    for row in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError, ConfigError):
            line = json.loads(row)
            check(line, schema("batch_line"), path.name)
            if "result" in line or line["status"] != "ok":
                lines[line["fingerprint"]] = line
    return lines


@contextlib.contextmanager
def _appending(path: Path) -> Iterator[Callable[[str], None]]:
    """A function that adds a line to ``path`` and gives it to the system at once."""
    try:
        stream = path.open("ab+")
    except OSError as error:
        from modelexport.ir.errors import OutputError

        raise OutputError(f"{path}: {error.strerror or error}") from error
    with stream:

        def append(line: str) -> None:
            stream.write(line.encode("utf-8") + b"\n")
            stream.flush()

        if stream.tell():  # a line cut off by a crash must not swallow the next one
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                append("")
        yield append
