"""modelexport batch on real local clusters of several processes: spread, lost workers, limits, resuming."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from modelexport.cli.batching.scheduling import RETRIES, run
from modelexport.cli.schema import schema

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clusters")]
BACKENDS = ["dask", "ray"]
MODELS = """
import time
import torch

def good():
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()), torch.randn(1, 4)

def wrong():
    raise RuntimeError("not today")

def slow():
    time.sleep(600)

def large():
    kept = [b"x" * (1 << 20) for _ in range(1200)]
    time.sleep(600)
    return kept
"""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    pytest.importorskip({"dask": "distributed"}.get(request.param, request.param))
    return str(request.param)


def note_process(folder: str, name: str) -> dict[str, Any]:
    Path(folder, name).write_text(str(os.getpid()))
    time.sleep(1)
    return {"status": "ok", "seconds": 1.0, "pid": os.getpid()}


def wait_for_a_killer(folder: str, name: str) -> dict[str, Any]:
    """The first time it waits to be killed; the second it ends."""
    first = Path(folder, f"{name}.first")
    if name == "killed" and not first.exists():
        first.write_text(str(os.getpid()))
        time.sleep(600)
    return {"status": "ok", "seconds": 0.0, "pid": os.getpid()}


def die(folder: str, name: str) -> dict[str, Any]:
    if name == "deadly":
        with open(Path(folder, "deaths"), "a") as stream:
            stream.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return {"status": "ok", "seconds": 0.0}


def scheduled(backend: Any, work: Any, folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """What a local cluster of two workers says of each name."""
    jobs = [(str(folder), name) for name in names]
    return {job[1]: line for job, line in run(backend, None, 2, False, print, work, jobs)}


@pytest.fixture(autouse=True)
def sent_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers can't import this file: functions of the main program are sent to them with their code."""
    for function in (note_process, wait_for_a_killer, die):
        monkeypatch.setattr(function, "__module__", "__main__")


def test_jobs_are_spread_over_workers(backend: str, tmp_path: Path) -> None:
    found = scheduled(backend, note_process, tmp_path, ["a", "b", "c", "d"])
    pids = {line["pid"] for line in found.values()}
    assert set(found) == {"a", "b", "c", "d"} and len(pids) >= 2 and os.getpid() not in pids


CLUSTERS = {
    "dask": "from distributed import LocalCluster; c = LocalCluster(n_workers=2, threads_per_worker=1, "
    "dashboard_address=None); print(c.scheduler_address, flush=True); input()",
    "ray": "import ray; c = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False); "
    "print(c.address_info['gcs_address'], flush=True); input()",
}


# A process of its own: ray keeps for its life what it has once read of authentication.
CLIENT = """
import json, os, sys, time
from modelexport.cli.batching.scheduling import run

def work(name):
    time.sleep(1)
    return {"status": "ok", "seconds": 1.0, "pid": os.getpid()}

if __name__ == "__main__":
    found = run(*sys.argv[1:], 2, False, lambda text: None, work, [(name,) for name in "abc"])
    print(json.dumps({job[0]: line["pid"] for job, line in found} | {"own": os.getpid()}))
"""


def test_jobs_go_to_a_cluster_that_is_there(backend: str, tmp_path: Path) -> None:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}  # both are this test's, and know no token of each other
    (tmp_path / "cluster.py").write_text(f"if __name__ == '__main__':\n    {CLUSTERS[backend]}\n")
    (tmp_path / "client.py").write_text(CLIENT)
    with subprocess.Popen(
        [sys.executable, "cluster.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
        env=environment,
    ) as cluster:  # fmt: skip
        assert cluster.stdout is not None
        address = next(line.strip() for line in cluster.stdout if re.search(r":\d+$", line.strip()))
        command = [sys.executable, "client.py", backend, address]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
        pids = json.loads(done.stdout.splitlines()[-1])
        own = pids.pop("own")
        assert set(pids) == set("abc") and own not in pids.values()
        if backend == "dask":  # ray's workers are nobody's children
            children = psutil.Process(cluster.pid).children(recursive=True)
            assert set(pids.values()) <= {one.pid for one in children}
        assert cluster.poll() is None, "the cluster is not ours to end"


def test_a_killed_workers_job_is_taken_up_again(backend: str, tmp_path: Path) -> None:
    first = tmp_path / "killed.first"

    def kill() -> None:
        deadline = time.monotonic() + 120
        while not (first.exists() and first.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(int(first.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = scheduled(backend, wait_for_a_killer, tmp_path, ["killed", "other", "more"])
    killer.join()
    assert {line["status"] for line in found.values()} == {"ok"}
    assert found["killed"]["pid"] != int(first.read_text())


def test_a_job_that_takes_its_worker_down_is_a_failure_of_its_own(backend: str, tmp_path: Path) -> None:
    found = scheduled(backend, die, tmp_path, ["a", "deadly", "b"])
    assert found["deadly"]["status"] == "crashed" and "\n" not in found["deadly"]["error"]
    assert found["a"]["status"] == found["b"]["status"] == "ok"
    assert len((tmp_path / "deaths").read_text()) == RETRIES + 1


def test_a_batch_on_a_cluster(backend: str, tmp_path: Path) -> None:
    """Results and failures by model, limits, sums, and a second run that has little to do."""
    (tmp_path / "models.py").write_text(MODELS)
    more: dict[str, dict[str, Any]] = {
        "good": {}, "again": {}, "wrong": {}, "slow": {"time_limit": 4}, "large": {"memory_limit_mb": 900}
    }  # fmt: skip
    lines = [
        {"model": f"models.py:{'good' if name == 'again' else name}", "output": f"{name}.onnx", **own}
        for name, own in more.items()
    ]
    manifest, sums = tmp_path / "jobs.jsonl", tmp_path / "sums.json"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [sys.executable, "-m", "modelexport.cli.modelexport", "batch", str(manifest), "--backend", backend,
               "--jobs", "2", "--time-limit", "240", "--report", str(sums)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=540)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for line in found:
        jsonschema.validate(line, schema("batch_line"))
    status = {Path(line["output"]).stem: line["status"] for line in found}
    assert status == {"good": "ok", "again": "ok", "wrong": "failed", "slow": "timeout", "large": "memory"}, done.stderr
    assert done.returncode == 1
    report = json.loads(sums.read_text())
    jsonschema.validate(report, schema("batch_report"))
    assert report["by_status"] == {"failed": 1, "memory": 1, "ok": 2, "timeout": 1}
    assert report["total_operations"] == report["tagged_operations"] == sum(report["by_source"].values()) == 4
    assert [Path(one["output"]).stem for one in report["failed"]] == ["large", "slow", "wrong"]

    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert again.returncode == 0 and [json.loads(line)["resumed"] for line in again.stdout.splitlines()] == [True, True]
    left = [one for one in psutil.Process().children(recursive=True) if "batching.worker" in " ".join(one.cmdline())]
    assert left == []
