"""Other processes at the same files at the same time."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fuzz_running
import psutil
import pytest

from modelexport.cli import htp_opt

HTP_OPT = (sys.executable, "-m", "modelexport.cli.htp_opt")
PLAIN, OTHER = "htp", "htp,attribute-embedding{interop=torch}"
SLEEPING = """
import time

def get_model():
    open("started", "a").write("x")
    time.sleep(600)
"""


def model(path: Path) -> bytes:
    data: bytes = fuzz_running.small_model().SerializeToString()
    path.write_bytes(data)
    return data


def tagged(folder: Path, passes: str) -> bytes:
    target = folder / "expected.onnx"
    assert htp_opt.main([str(folder / "model.onnx"), "-o", str(target), "-q", "--passes", passes]) == 0
    data = target.read_bytes()
    target.unlink()
    return data


def test_two_runs_write_one_output(tmp_path: Path) -> None:
    model(tmp_path / "model.onnx")
    expected = [tagged(tmp_path, passes) for passes in (PLAIN, OTHER)]
    assert expected[0] != expected[1]
    running = [
        subprocess.Popen([*HTP_OPT, "model.onnx", "-o", "out.onnx", "-q", "--passes", passes], cwd=tmp_path)
        for passes in (PLAIN, OTHER) * 2
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    assert (tmp_path / "out.onnx").read_bytes() in expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "out.onnx"]


def test_an_input_that_is_replaced_while_it_is_read(tmp_path: Path) -> None:
    """Whoever reads sees one of the files, and never a part of each."""
    first = model(tmp_path / "model.onnx")
    expected = [tagged(tmp_path, PLAIN)]
    second = expected[0]
    (tmp_path / "model.onnx").write_bytes(second)
    expected.append(tagged(tmp_path, PLAIN))
    stop = threading.Event()

    def replace() -> None:
        for data in itertools.cycle((first, second)):
            (tmp_path / "next").write_bytes(data)
            os.replace(tmp_path / "next", tmp_path / "model.onnx")
            if stop.is_set():
                return

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(20):
            assert htp_opt.main([str(tmp_path / "model.onnx"), "-o", str(tmp_path / "out.onnx"), "-q"]) == 0
            assert (tmp_path / "out.onnx").read_bytes() in expected
    finally:
        stop.set()
        thread.join()


def test_an_input_that_is_cut_while_it_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = model(tmp_path / "model.onnx")
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            with open(tmp_path / "model.onnx", "wb", buffering=0) as stream:
                stream.write(data[: len(data) // 2])
                stream.write(data[len(data) // 2 :])

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(20):
            status = htp_opt.main([str(tmp_path / "model.onnx"), "-o", str(tmp_path / "out.onnx"), "-q"])
            said = capsys.readouterr().err
            assert status == 0 or (status == 2 and said.startswith("error: ") and said.count("\n") == 1), said
    finally:
        stop.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, getattr(signal, "SIGKILL", signal.SIGTERM)])
def test_a_batch_that_is_stopped_leaves_nothing_running(number: int, tmp_path: Path) -> None:
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    rows = [json.dumps({"model": "sleeping.py", "output": f"{name}.onnx"}) for name in "ab"]
    (tmp_path / "jobs.jsonl").write_text("\n".join(rows) + "\n")
    command = [sys.executable, "-m", "modelexport.cli.modelexport", "batch", "jobs.jsonl", "--jobs", "2"]
    batch = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started = tmp_path / "started"
    deadline = time.monotonic() + 120
    while not (started.exists() and len(started.read_text()) == 2) and time.monotonic() < deadline:
        time.sleep(0.1)
    children = psutil.Process(batch.pid).children(recursive=True)
    assert len(children) >= 2
    batch.send_signal(number)
    _, said = batch.communicate(timeout=60)
    assert batch.returncode == (130 if number == signal.SIGINT else -number), said
    if number == signal.SIGINT:
        assert "interrupted" in said and "Traceback" not in said
    _, alive = psutil.wait_procs(children, timeout=30)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert not list(tmp_path.glob("*.onnx")) and not list(tmp_path.glob("*.tmp"))
