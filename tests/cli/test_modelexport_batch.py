"""modelexport batch: workers, limits, resuming, manifests."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from modelexport.cli import modelexport as command
from modelexport.cli.batching import scheduling
from modelexport.cli.batching.manifest import read_manifest
from modelexport.cli.batching.worker import run_entry
from modelexport.cli.schema import schema
from modelexport.ir.errors import ConfigError

MODELS = """
import os, signal, sys, time
import torch

def good():
    print("talk of the model's own")
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()), torch.randn(1, 4)

def wrong():
    raise RuntimeError("not today\\nsecond line")

def slow():
    time.sleep(600)

def large():
    kept = [b"x" * (1 << 20) for _ in range(1200)]
    time.sleep(600)
    return kept

def crash():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    (tmp_path / "models.py").write_text(MODELS)

    def write(*entries: dict[str, Any], name: str = "jobs.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        return path

    return write


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"model": f"models.py:{name}", "output": f"{name}.onnx", "opset_version": 17, **more}


def batch(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict[str, Any]]]:
    capfd.readouterr()
    code = command.main(["batch", *(str(argument) for argument in arguments)])
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    for line in lines:
        jsonschema.validate(line, schema("batch_line"))
    return code, lines


@pytest.mark.posix
def test_failures_do_not_stop_the_rest_and_a_second_run_resumes(
    manifest: Callable[..., Path], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = manifest(
        entry("crash"), entry("wrong"), entry("slow", time_limit=3), entry("large", memory_limit_mb=900), entry("good")
    )
    code, lines = batch(capfd, path, "--jobs", "2", "--time-limit", "120")
    found = {line["model"].rpartition(":")[2]: line for line in lines}
    assert code == 1
    assert {name: line["status"] for name, line in found.items()} == {
        "crash": "crashed",
        "wrong": "failed",
        "slow": "timeout",
        "large": "memory",
        "good": "ok",
    }
    assert "not today" in found["wrong"]["error"] and "\n" not in found["wrong"]["error"]
    assert "signal 9" in found["crash"]["error"] and "3 s" in found["slow"]["error"]
    assert found["good"]["result"]["tagged_operations"] == found["good"]["result"]["total_operations"] == 2
    assert found["good"]["peak_memory_mb"] > 50
    assert (tmp_path / "good.onnx").exists() and (tmp_path / "good_hierarchy.json").exists()
    assert len((tmp_path / "jobs.jsonl.results.jsonl").read_text().splitlines()) == 5

    (tmp_path / "models.py").touch()  # another time of change makes another fingerprint
    path = manifest(entry("good"))
    assert batch(capfd, path)[1][0]["resumed"] is False
    written = (tmp_path / "good.onnx").stat().st_mtime_ns
    code, lines = batch(capfd, path)
    assert code == 0 and [(line["status"], line["resumed"]) for line in lines] == [("ok", True)]
    assert (tmp_path / "good.onnx").stat().st_mtime_ns == written


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_nothing_outlives_a_batch_that_is_killed(manifest: Callable[..., Path], jobs: str) -> None:
    path = manifest(entry("slow"), entry("slow", output="again.onnx"))
    command_line = [sys.executable, "-m", "modelexport.cli.modelexport", "batch", str(path), "--jobs", jobs]
    killed = psutil.Popen(command_line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wanted = 2 if int(jobs) > 1 else 1
    started: list[psutil.Process] = []
    while sum("modelexport.cli.batching.worker" in process.cmdline() for process in started) < wanted:
        assert killed.poll() is None
        time.sleep(0.1)
        started = [process for process in killed.children(recursive=True) if process.is_running()]
    killed.kill()
    killed.wait()
    deadline = time.monotonic() + 60
    while left := [process for process in started if _runs(process)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_dask_runs_the_same_batch(manifest: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    path = manifest(entry("good"), entry("wrong"))
    code, lines = batch(capfd, path, "--backend", "dask", "--jobs", "2")
    assert code == 1 and sorted(line["status"] for line in lines) == ["failed", "ok"]


def test_a_scheduler_that_is_not_there(manifest: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    path = manifest(entry("good"))
    assert command.main(["batch", str(path), "--backend", "dask", "--address", "nowhere://x"]) == 2
    assert "no dask scheduler at nowhere://x" in capfd.readouterr().err


def test_a_missing_backend_is_named(
    manifest: Callable[..., Path], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    path = manifest(entry("good"))
    monkeypatch.setitem(sys.modules, "ray", None)
    assert command.main(["batch", str(path), "--backend", "ray"]) == 2
    assert "pip install" in capfd.readouterr().err
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert command.main(["batch", str(path)]) == 2
    assert "modelexport[batch]" in capfd.readouterr().err


def test_results_cut_off_by_a_crash_are_repeated(
    manifest: Callable[..., Path], capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, results = manifest(entry("good"), entry("wrong")), tmp_path / "r.jsonl"
    answers = {"good": {"status": "ok", "result": {}}, "wrong": {"status": "failed", "error": "no"}}

    def pretend(todo: Any, *_: Any) -> Any:
        for each, mark in todo:
            name = each.model.rpartition(":")[2]
            each.output.touch()
            line = {"model": each.model, "output": str(each.output), "seconds": 0.0, "resumed": False}
            yield {**line, "fingerprint": mark, **answers[name]}

    monkeypatch.setattr("modelexport.cli.commands.make.batch._run", pretend)
    assert batch(capfd, path, "--results", results)[0] == 1
    whole = results.read_text()
    results.write_text(whole[:-20])  # the second line is cut off
    answers["wrong"] = {"status": "ok", "result": {}}
    code, lines = batch(capfd, path, "--results", results)
    assert code == 0 and [line["resumed"] for line in lines] == [True, False]
    assert [line["resumed"] for line in batch(capfd, path, "--results", results)[1]] == [True, True]
    assert [line["resumed"] for line in batch(capfd, path, "--results", results, "--fresh")[1]] == [False, False]
    (tmp_path / "good.onnx").unlink()
    assert [line["resumed"] for line in batch(capfd, path, "--results", results)[1]] == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no models"),
        ("{}", 'line 1: "model" is missing'),
        ('{"model": "m.py"}', '"output" is missing'),
        ('{"model": "m.py", "output": 3}', "output must be text, not 3"),
        ('{"model": "m.py", "output": "o.onnx", "optset_version": 3}', 'did you mean "opset_version"'),
        ('{"model": "m.py", "output": "o.onnx", "time_limit": -1}', "outside 0"),
        ('{"model": "m.py", "output": "o.onnx"}\n{"model": "n.py", "output": "./o.onnx"}', "two entries write o.onnx"),
        ('{"model": "m.py", "output": "o.onnx"', "not JSON"),
        ("[1]", "must be a table"),
    ],
)
def test_wrong_manifests(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_manifest(path)
    assert message in str(caught.value) and "jobs.jsonl" in str(caught.value)


def test_toml_and_merged_configuration(tmp_path: Path) -> None:
    (tmp_path / "m.py").touch()
    (tmp_path / "c.json").write_text('{"opset_version": 14, "exporter": "torchscript"}')
    (tmp_path / "jobs.toml").write_text(
        '[[models]]\nmodel = "m.py:build"\noutput = "o.onnx"\nconfig = "c.json"\nopset_version = 17\n'
        'input_shape = {x = [1, 3]}\n[[models]]\nmodel = "demo:transformer"\noutput = "d.onnx"\n'
    )
    first, second = read_manifest(tmp_path / "jobs.toml")
    assert first.model == f"{tmp_path / 'm.py'}:build" and first.output == tmp_path / "o.onnx"
    assert first.options == {"opset_version": 17, "exporter": "torchscript"}
    assert first.own == {"input_shape": {"x": [1, 3]}} and second.model == "demo:transformer"
    before = first.fingerprint()
    (tmp_path / "m.py").write_text("changed = True")
    assert first.fingerprint() != before


def test_a_child_that_is_not_python_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    line = run_entry({}, None, None)
    assert line["status"] == "crashed" and "exit code 1" in line["error"]


def test_sums_over_all_models(
    manifest: Callable[..., Path], capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sums = manifest(entry("good"), entry("wrong"), entry("slow")), tmp_path / "sums.json"
    results = {
        "good": {"total_operations": 3, "tagged_operations": 3, "by_source": {"trace": 2, "inherited": 1}},
        "slow": {"total_operations": 5, "tagged_operations": 4, "by_source": {"trace": 4}},
    }

    def pretend(todo: Any, *_: Any) -> Any:
        for each, mark in todo:
            name = each.model.rpartition(":")[2]
            each.output.touch()
            how = {"status": "ok", "result": results[name]} if name in results else {"status": "failed", "error": "no"}
            line = {"model": each.model, "output": str(each.output), "seconds": 1.5, "resumed": False}
            yield {**line, "fingerprint": mark, **how}

    monkeypatch.setattr("modelexport.cli.commands.make.batch._run", pretend)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for resumed in (False, True):  # what an earlier run did counts too
        capfd.readouterr()
        assert command.main(["batch", str(path), "--report", str(sums)]) == 1
        shown = capfd.readouterr().err
        report = json.loads(sums.read_text())
        jsonschema.validate(report, schema("batch_report"))
        assert report["by_source"] == {"trace": 6, "inherited": 1} and report["by_status"] == {"failed": 1, "ok": 2}
        assert (report["total_operations"], report["tagged_operations"], report["coverage"]) == (8, 7, 0.875)
        assert [Path(one["output"]).name for one in report["exported"]] == ["good.onnx", "slow.onnx"]
        assert report["failed"] == [
            {
                "model": f"{tmp_path / 'models.py'}:wrong",
                "output": str(tmp_path / "wrong.onnx"),
                "status": "failed",
                "error": "no",
            }
        ]
        assert "3 of 3, 1 failed" in shown and (("2 of 3" in shown) or resumed)
    assert command.main(["batch", str(path), "--report", str(tmp_path / "none" / "sums.json")]) == 2
    assert command.main(["batch", str(path), "--dashboard"]) == 2


def test_workers_without_the_package_are_named_before_any_work() -> None:
    scheduling._have_the_package({"tcp://a:1": object()})
    with pytest.raises(ConfigError, match="not installed on 1 of 2 workers: tcp://b:2"):
        scheduling._have_the_package({"tcp://a:1": object(), "tcp://b:2": None})
