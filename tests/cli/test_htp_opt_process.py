"""htp-opt as a process: streams, signals, crashing passes and their reproducers."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from modelexport.cli import htp_opt
from modelexport.ir import Model
from modelexport.passes import PassContext, PassResult
from modelexport.passes.fallback_tagging import FallbackTagging

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fallback-tagging crash."""

    def run(self: FallbackTagging, model: Model, ctx: PassContext) -> PassResult:
        for node in model.nodes():
            if node.attribution is None or node.op_type == "Exp":
                raise KeyError(node.op_type)
        return PassResult()

    monkeypatch.setattr(FallbackTagging, "run", run)


def tags(path: Path | str) -> list[str | None]:
    proto = onnx.load(path)
    return [{p.key: p.value for p in node.metadata_props}.get("htp.path") for node in proto.graph.node]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def program(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "modelexport.cli.htp_opt", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, **options)  # type: ignore[call-overload, no-any-return]


def test_stdin_and_stdout(model: Path) -> None:
    done = program("-", "-o", "-", "--report", "json", input=model.read_bytes())
    assert done.returncode == 0
    Path("out.onnx").write_bytes(done.stdout)
    assert tags("out.onnx")[:2] == ["encoder", "encoder"]
    assert json.loads(done.stderr)["tagged_operations"] == 3


def test_an_output_that_stdin_reads_is_refused(model: Path) -> None:
    before = model.read_bytes()
    with open(model, "rb") as stream:
        done = program("-", "-o", model, stdin=stream)
    assert (done.returncode, done.stderr) == (2, b"error: model.onnx: is the input; --in-place writes over it\n")
    assert model.read_bytes() == before


def test_a_crashing_pass_is_status_3_and_says_how_to_reproduce(
    model: Path, folder: Path, crash: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out.onnx").write_text("kept")
    assert htp_opt.main([str(model), "-o", "out.onnx"]) == 3
    assert capsys.readouterr().err == (
        "error: the pass fallback-tagging crashed at main: node 1 (/encoder/Exp) (after scope-attribution, "
        "context-inheritance): KeyError: 'Exp'; --reproducer FILE saves the model as it was before this pass\n"
    )
    assert names(folder) == {"model.onnx", "out.onnx"} and Path("out.onnx").read_text() == "kept"


def test_debug_shows_the_traceback(model: Path, crash: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main([str(model), "--debug"]) == 3
    error = capsys.readouterr().err
    assert "Traceback" in error and "KeyError: 'Exp'" in error


def test_a_reproducer_fails_again(model: Path, crash: None, capsys: pytest.CaptureFixture[str]) -> None:
    name = "it's the model.onnx"
    assert htp_opt.main([str(model), "--reproducer", name]) == 3
    error = capsys.readouterr().err
    assert f"reproducer: {name} and {name}.sh" in error
    assert tags(name)[:2] == ["encoder", "encoder"]
    script = Path(f"{name}.sh")
    assert script.stat().st_mode & stat.S_IXUSR
    command = script.read_text().splitlines()[-1]
    arguments = shlex.split(command.partition('"$(dirname "$0")"/')[2].removesuffix(' "$@"'))
    assert arguments == [name, "--passes", "scope-attribution,fallback-tagging"]
    assert htp_opt.main(arguments) == 3
    again = capsys.readouterr().err
    assert "the pass fallback-tagging crashed at main: node 1 (/encoder/Exp)" in again


@pytest.mark.posix
def test_the_script_of_a_reproducer_runs_anywhere(model: Path, folder: Path, crash: None) -> None:
    assert htp_opt.main([str(model), "--reproducer", "a b.onnx"]) == 3
    fake = folder / "fake htp-opt"
    fake.write_text('#!/bin/sh\nfor each in "$@"; do echo "$each"; done\n')
    fake.chmod(0o755)
    done = subprocess.run(
        [folder / "a b.onnx.sh", "--debug"], cwd="/", env={**os.environ, "HTP_OPT": str(fake)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    shown = [str(folder / "a b.onnx"), "--passes", "scope-attribution,fallback-tagging", "--debug"]
    assert done.stdout.splitlines() == shown


@pytest.mark.posix
def test_a_reader_who_leaves_is_no_error(model: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m modelexport.cli.htp_opt --list-passes | true"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.linux
def test_a_full_disk_under_stdout_is_an_error(model: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "modelexport.cli.htp_opt", "model.onnx", "-o", "-"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(b"error: stdout: No space left on device")


@pytest.mark.posix
def test_ctrl_c_is_status_130(folder: Path) -> None:
    os.mkfifo("slow.onnx")
    command = [sys.executable, "-m", "modelexport.cli.htp_opt", "slow.onnx", "-o", "out.onnx"]
    started = subprocess.Popen(command, stderr=subprocess.PIPE)
    with open("slow.onnx", "wb"):  # the program reads now, and waits
        time.sleep(0.1)
        started.send_signal(signal.SIGINT)
        _, error = started.communicate(timeout=60)
    assert started.returncode == 130
    assert error.split() == [b"interrupted"]
    assert names(folder) == {"slow.onnx"}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("htp-opt --passes con", "context-inheritance"),
        ("htp-opt --passes scope-attribution,fal", "scope-attribution,fallback-tagging"),
        ("htp-opt --em", "--emit"),
    ],
)
def test_the_shell_completes_names(typed: str, offered: str) -> None:
    words = typed.split()
    environment = {"_HTP_OPT_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    code = "import sys; sys.argv[0] = 'htp-opt'; from modelexport.cli.htp_opt import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert f"plain,{offered}" in done.stdout.splitlines()


def test_files_appear_one_after_the_other(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run killed at any moment leaves at most one temporary file: there is never more than one."""
    proto = onnx.load(model)
    weight = proto.graph.initializer.add(name="w", data_type=onnx.TensorProto.FLOAT, dims=[2])
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="w.bin")
    Path("w.bin").write_bytes(bytes(8))
    Path("model.onnx").write_bytes(proto.SerializeToString())
    Path("out").mkdir()
    appeared: list[str] = []
    temporary: list[int] = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        temporary.append(sum(name.endswith(".tmp") for name in names(folder / "out")))
        appeared.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    assert htp_opt.main(["model.onnx", "-o", "out/o.onnx", "--sidecar", "-q"]) == 0
    assert appeared == ["w.bin", "o.onnx", "o_hierarchy.json"]
    assert temporary == [1, 1, 1]


def test_what_would_keep_the_sidecar_from_being_written_is_found_first(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert htp_opt.main([str(model), "-o", "o.onnx", "--sidecar"]) == 2
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked")
    Path("locked").mkdir()
    assert htp_opt.main([str(model), "-o", "o.onnx", "--sidecar-path", "locked/s.json"]) == 2
    assert "locked is not writable" in capsys.readouterr().err
    assert names(Path()) == {"model.onnx", "locked"}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_stream_is_no_crash(model: Path, number: int) -> None:
    command = f"{shlex.quote(sys.executable)} -m modelexport.cli.modelexport extract {shlex.quote(str(model))} ."
    closed = f"{number}>&-" if number else "<&-"
    done = subprocess.run(["sh", "-c", f"{command} -o piece.onnx {closed}"], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    onnx.checker.check_model(onnx.load("piece.onnx"))
