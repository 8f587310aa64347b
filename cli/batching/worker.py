"""One model of a batch in a process of its own, so that its limits, and its crash, are its own.

``run_entry`` is what a joblib worker calls: it starts ``python -m modelexport.cli.batching.worker``, hands it the entry
as one JSON line, watches wall time and resident memory, and returns one result line. The child ends when its stdin
closes, so nothing is left behind by a worker that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, Any

import psutil

_POLL = 0.05  # seconds between looks at a child


def run_entry(entry: dict[str, Any], time_limit: float | None, memory_limit_mb: int | None) -> dict[str, Any]:
    """Export one entry in a child process and say how it went (keys of ``batch_line.schema.json``)."""
    environment = dict(os.environ)
    if memory_limit_mb is not None:
        environment["MODELEXPORT_MEMORY_LIMIT_MB"] = str(memory_limit_mb)
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(
            [sys.executable, "-m", "modelexport.cli.batching.worker"],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            text=True,
            env=environment,
        )
        stop, peak = _watch(child, json.dumps(entry), started, time_limit, memory_limit_mb)
        out.seek(0)
        answer = _last_json(out)
        err.seek(0)
        line = _verdict(stop, child.returncode, answer, err.read())
    line["seconds"] = round(time.monotonic() - started, 3)
    line["peak_memory_mb"] = peak >> 20
    return line


def _watch(
    child: subprocess.Popen[str], order: str, started: float, time_limit: float | None, memory_limit_mb: int | None
) -> tuple[str, int]:
    """Wait for the child within its limits. Returns why it was stopped ("" when it was not) and its peak memory."""
    pipe = child.stdin
    assert pipe is not None
    stop, peak = "", 0
    try:
        with contextlib.suppress(BrokenPipeError):  # it died at once; its exit code says so
            pipe.write(order + "\n")
            pipe.flush()
        while child.poll() is None:
            peak = max(peak, _resident(child.pid))
            if time_limit is not None and time.monotonic() - started > time_limit:
                stop = f"over its time limit of {time_limit:g} s"
                break
            # The child refuses by itself at the limit, between steps; this stops one that grows inside a step.
            if memory_limit_mb is not None and peak > memory_limit_mb << 20:
                stop = f"over its memory limit of {memory_limit_mb} MB"
                break
            time.sleep(_POLL)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
    return stop, peak


def _resident(pid: int) -> int:
    try:
        process = psutil.Process(pid)
        return sum(int(one.memory_info().rss) for one in [process, *process.children(recursive=True)])
    except psutil.Error:
        return 0


def _last_json(stream: IO[str]) -> dict[str, Any] | None:
    lines = [line for line in stream if line.startswith("{")]
    try:
        answer: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return None
    return answer or None


def _verdict(stop: str, code: int, answer: dict[str, Any] | None, talk: str) -> dict[str, Any]:
    if stop:
        return {"status": "timeout" if "time limit" in stop else "memory", "error": stop}
    if answer is None:
        last = next((line for line in reversed(talk.splitlines()) if line.strip()), "")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return {"status": "crashed", "error": f"its process ended with {how}{': ' + last if last else ''}"}
    return answer


def _child() -> int:
    """The child: one entry in, one JSON line out."""
    entry = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answers = sys.stdout
    sys.stdout = sys.stderr  # what model code prints is talk
    from modelexport.cli.commands.make.export import ExportRequest, run_export
    from modelexport.ir.errors import MemoryLimitExceeded, ModelExportError

    line: dict[str, Any]
    try:
        line = {"status": "ok", "result": run_export(ExportRequest.from_json(entry))}
    except MemoryLimitExceeded as error:
        line = {"status": "memory", "error": str(error)}
    except (ModelExportError, OSError) as error:
        line = {"status": "failed", "error": " ".join(str(error).split())}
    answers.write(json.dumps(line, default=str) + "\n")
    answers.flush()
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def end_with(owner: int) -> None:
    """Let this worker end when the process that started it is gone, however it ended; its child ends with it."""
    threading.Thread(target=_end_without, args=(owner,), daemon=True).start()


def _end_without(owner: int) -> None:
    while (parent := psutil.Process().parent()) is not None and parent.pid == owner:
        time.sleep(10 * _POLL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(_child())
