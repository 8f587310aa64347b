"""``modelexport batch``: many models, scheduled by joblib on its own workers, dask or ray."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from modelexport.cli.console import put, warn
from modelexport.cli.options import talk, talk_options

if TYPE_CHECKING:
    from modelexport.cli.batching.manifest import Entry

Backend = Literal["loky", "dask", "ray"]


@click.command("batch", short_help="Export many models, each in its own process.")
@click.argument("manifest", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Where result lines are kept for a"
              " later run [MANIFEST.results.jsonl].")  # fmt: skip
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Models at a time.")
@click.option("--backend", type=click.Choice(["loky", "dask", "ray"]), default="loky", show_default=True,
              help="Who runs the workers, through joblib.")  # fmt: skip
@click.option("--address", help="Scheduler of a running dask or ray cluster; without it a local one is started.")
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), help="Seconds per model.")
@click.option("--memory-limit", type=click.IntRange(min=1), help="Resident memory per model, in MB.")
@click.option("--fresh", is_flag=True, help="Export again what an earlier run has done.")
@talk_options
def command(
    manifest: Path,
    results: Path | None,
    jobs: int,
    backend: Backend,
    address: str | None,
    time_limit: float | None,
    memory_limit: int | None,
    fresh: bool,
) -> None:
    """Export many models, each in its own process.

    MANIFEST is JSON Lines, one {"model", "output", ...} per line, or TOML with [[models]] tables; further keys are
    those of export's configuration file, and config, input_shape, trust_remote_code, allow_pickle, time_limit,
    memory_limit_mb. One JSON line per model goes to stdout as it ends. A model that fails does not stop the rest; a
    second run exports only what is not done. The exit code is 1 when a model failed.

    \b
    Examples:
      modelexport batch models.jsonl --jobs 4 --time-limit 600 --memory-limit 8000
      modelexport batch models.toml --backend dask --address tcp://scheduler:8786
    """
    from modelexport.cli.batching.manifest import read_manifest

    if address and backend == "loky":
        raise click.UsageError("--address needs --backend dask or ray")
    entries = read_manifest(manifest)
    kept = results or manifest.with_name(f"{manifest.name}.results.jsonl")
    done = {} if fresh else _read_results(kept)
    todo: list[tuple[Entry, str]] = []
    failed = 0
    for entry in entries:
        mark = entry.fingerprint()
        earlier = done.get(mark)
        if earlier is not None and earlier["status"] == "ok" and entry.output.exists():
            put(json.dumps({**earlier, "resumed": True}))
        else:
            todo.append((entry, mark))
    talk().say(f"{len(entries) - len(todo)} of {len(entries)} done earlier")
    with _appending(kept) as append:
        for line in _run(todo, backend, address, jobs, time_limit, memory_limit):
            text = json.dumps(line)
            append(text)
            put(text)
            failed += line["status"] != "ok"
            talk().say(f"{line['model']}: {line['status']} in {line['seconds']:.1f} s")
    if failed:
        warn(f"{failed} of {len(entries)} models failed; see {kept}")
        click.get_current_context().exit(1)


def _run(
    todo: list[tuple[Entry, str]],
    backend: Backend,
    address: str | None,
    jobs: int,
    time_limit: float | None,
    memory_limit: int | None,
) -> Iterator[dict[str, Any]]:
    """Result lines, as the models end. joblib schedules; nothing here does."""
    if not todo:
        return
    try:
        import joblib
    except ImportError as error:
        from modelexport.ir.errors import MissingExtraError

        raise MissingExtraError("joblib", "batch", "modelexport batch") from error
    with _cluster(backend, address, jobs):
        # ray's joblib backend hands results over only when all are done.
        how = "list" if backend == "ray" else "generator_unordered"
        calls = (joblib.delayed(_one)(entry, mark, time_limit, memory_limit) for entry, mark in todo)
        yield from joblib.Parallel(n_jobs=jobs, return_as=how, batch_size=1)(calls)


def _one(entry: Entry, mark: str, time_limit: float | None, memory_limit: int | None) -> dict[str, Any]:
    from modelexport.cli.batching.worker import run_entry

    own = dict(entry.own)
    seconds = own.pop("time_limit", time_limit)
    megabytes = own.pop("memory_limit_mb", memory_limit)
    request = {"model": entry.model, "output": str(entry.output), "options": entry.options, **own}
    line = {"model": entry.model, "output": str(entry.output)}
    return {**line, **run_entry(request, seconds, megabytes), "resumed": False, "fingerprint": mark}


@contextlib.contextmanager
def _cluster(backend: Backend, address: str | None, jobs: int) -> Iterator[None]:
    """Select joblib's backend for the block."""
    import joblib

    from modelexport.cli.batching.worker import end_with
    from modelexport.ir.errors import ConfigError

    with contextlib.ExitStack() as stack:
        if backend == "dask":
            try:
                from distributed import Client, LocalCluster
            except ImportError as error:
                raise ConfigError("--backend dask needs dask: pip install distributed") from error
            try:
                where = address or stack.enter_context(
                    LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
                )
                stack.enter_context(Client(where, timeout="20s"))
            except (OSError, ValueError) as error:
                raise ConfigError(f"no dask scheduler at {address}: {error}") from error
        elif backend == "ray":
            try:
                import ray
                from ray.util.joblib import register_ray
            except ImportError as error:
                raise ConfigError("--backend ray needs ray: pip install 'ray[default]'") from error
            ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
            register_ray()
        # dask's workers end with the process that started them, a cluster's live on.
        watch = {"initializer": end_with, "initargs": (os.getpid(),)} if backend == "loky" else {}
        stack.enter_context(joblib.parallel_config(backend=backend, **watch))
        yield


def _read_results(path: Path) -> dict[str, dict[str, Any]]:
    """Earlier lines by fingerprint, the last one counts; a line cut off by a crash is passed over."""
    lines: dict[str, dict[str, Any]] = {}
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        from modelexport.ir.errors import InputError

        raise InputError(f"{path}: can't be read: {error}") from error
    for row in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            line = json.loads(row)
            if isinstance(line, dict) and {"fingerprint", "status"} <= line.keys():
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
