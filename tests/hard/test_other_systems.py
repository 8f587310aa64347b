"""What only some systems have, taken away: the results are the same."""

from __future__ import annotations

import ntpath
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fuzz_running
import onnx
import psutil
import pytest

from modelexport.cli import htp_opt, modelexport
from modelexport.cli.batching.manifest import read_manifest
from modelexport.frontend.clients import launching
from modelexport.ir import limits, load_model, save_model
from modelexport.ir.errors import OutputError
from modelexport.ir.io import weights
from modelexport.ir.io.external import copying, exchanging

Patch = pytest.MonkeyPatch
POSIX_ONLY = ("copy_file_range", "pread", "pwrite", "link", "SEEK_DATA", "SEEK_HOLE", "posix_fallocate", "sendfile")


def without_posix(patch: Patch) -> None:
    """A system without calls that only POSIX or only Linux has."""
    for name in POSIX_ONLY:
        patch.delattr(os, name, raising=False)
    for name in ("fcntl", "resource", "termios"):
        patch.setitem(sys.modules, name, None)  # an import of it fails


def folders_that_can_not_be_opened(patch: Patch) -> None:
    """As on Windows, where os.open refuses a folder."""
    opened = os.open

    def refuse(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, *more, **named)

    patch.setattr(os, "open", refuse)


def without_hard_links(patch: Patch) -> None:
    """As on a FAT disk."""

    def refuse(*arguments: Any, **named: Any) -> None:
        raise OSError(95, "Operation not supported")

    patch.setattr(os, "link", refuse)


def fsync_that_is_refused_for_folders(patch: Patch) -> None:
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    patch.setattr(os, "fsync", refuse)


SYSTEMS = [without_posix, folders_that_can_not_be_opened, without_hard_links, fsync_that_is_refused_for_folders]


def external(folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(fuzz_running.small_model(), path, save_as_external_data=True, location="model.bin", size_threshold=0)
    return path


def written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def work(folder: Path) -> dict[str, bytes]:
    """Write models with data of their own, twice, so that the second time takes the place of the first."""
    (folder / "there").mkdir(parents=True)
    source = external(folder)
    assert htp_opt.main([str(source), "-o", str(folder / "there" / "out.onnx"), "--sidecar", "-q"]) == 0
    for path in ("head", "encoder"):
        assert modelexport.main(["extract", str(source), path, "-o", str(folder / "piece.onnx")]) == 0
    assert modelexport.main(["split", str(source), "--at", "head", "-o", str(folder / "stages")]) == 0
    return written(folder)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_same_files(system: Callable[[Patch], None], tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    expected = work(tmp_path / "here")
    with monkeypatch.context() as patch:
        system(patch)
        found = work(tmp_path / "other")
    assert len(expected) > 8 and found == expected


def test_hard_links_that_were_asked_for_are_an_error_where_there_are_none(tmp_path: Path, monkeypatch: Patch) -> None:
    source = load_model(external(tmp_path))
    (tmp_path / "there").mkdir()
    for take_away in (without_posix, without_hard_links):
        with monkeypatch.context() as patch:
            take_away(patch)
            with pytest.raises(OutputError, match=r"hard-linked.*use copy") as raised:
                save_model(source, tmp_path / "there" / "out.onnx", external_data="link")
        assert "\n" not in str(raised.value)
        assert not list((tmp_path / "there").iterdir())


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_platforms_copy_the_content(platform: str, tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / "a").write_bytes(os.urandom(3 << 20))
    monkeypatch.setattr(copying.sys, "platform", platform)
    for name in ("copy_file_range", "pread", "pwrite", "SEEK_DATA"):
        monkeypatch.delattr(os, name, raising=False)
    with open(tmp_path / "a", "rb") as source, open(tmp_path / "b", "wb") as target:
        copying.copy_content(source.fileno(), target.fileno())
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_a_second_name_without_links_is_a_copy(tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / "a").write_bytes(b"data")
    without_hard_links(monkeypatch)
    exchanging._second_name(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"data" and not (tmp_path / "b").samefile(tmp_path / "a")


def test_memory_without_the_resource_module(monkeypatch: Patch) -> None:
    now, peak = limits.memory_mb()
    assert 0 < now <= peak
    monkeypatch.setitem(sys.modules, "resource", None)
    assert limits.memory_mb()[1] >= limits.memory_mb()[0] > 0
    used = psutil.Process().memory_info()

    class Windows:
        rss, peak_wset = used.rss, used.rss + (50 << 20)

    monkeypatch.setattr(psutil.Process, "memory_info", lambda self: Windows())
    now, peak = limits.memory_mb()
    assert round(peak - now) == 50


def test_a_memory_limit_holds_without_proc_and_resource(tmp_path: Path, monkeypatch: Patch) -> None:
    source = external(tmp_path)
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setenv("MODELEXPORT_MEMORY_LIMIT_MB", "1")
    assert htp_opt.main([str(source), "-o", str(tmp_path / "out.onnx")]) == 2
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        pytest.param(
            "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
            128 + signal.SIGTERM,
            marks=pytest.mark.skipif(os.name != "posix", reason="needs signals"),
        ),
    ],
)
def test_programs_run_where_signals_can_not_be_waited_for(code: str, status: int, monkeypatch: Patch) -> None:
    for name in ("sigtimedwait", "pthread_sigmask", "SIGCHLD", "SIGHUP", "SIGWINCH"):
        monkeypatch.delattr(signal, name, raising=False)
    program = launching.find_program(["-c", code])
    assert launching.run_program(program, dict(os.environ)) == status


def test_an_interrupt_is_the_programs_business_there_too(monkeypatch: Patch) -> None:
    monkeypatch.delattr(signal, "sigtimedwait", raising=False)
    waited = iter([KeyboardInterrupt, None])
    wait = launching.subprocess.Popen.wait

    def interrupted(self: Any, *arguments: Any, **named: Any) -> int:
        if (error := next(waited, None)) is not None:
            raise error
        return wait(self, *arguments, **named)

    monkeypatch.setattr(launching.subprocess.Popen, "wait", interrupted)
    program = launching.find_program(["-c", "raise SystemExit(3)"])
    assert launching.run_program(program, dict(os.environ)) == 3


def test_drives_are_outside_of_a_folder(monkeypatch: Patch) -> None:
    """Paths of Windows, on any system."""
    with monkeypatch.context() as patch:
        patch.setattr(weights.os, "path", ntpath)
        patch.setattr(weights.os, "sep", "\\")
        assert not weights.is_below("D:\\data\\w.bin", "C:\\models")
        assert weights.is_below("C:\\models\\w.bin", "C:\\models")
        assert weights.is_below("C:\\models", "C:\\models") and not weights.is_below("C:\\models2", "C:\\models")

        class Unnamed:
            path = data_home = None

        for location in ("D:w.bin", "D:\\w.bin", "..\\w.bin", "\\\\server\\share\\w.bin"):
            assert weights.is_outside(Unnamed(), location), location  # type: ignore[arg-type]
        assert not weights.is_outside(Unnamed(), "sub\\w.bin")  # type: ignore[arg-type]


@pytest.mark.skipif(os.name != "posix", reason="no colon can be in a name")
def test_names_with_colons(tmp_path: Path, monkeypatch: Patch) -> None:
    """A colon in a path is no separator: not in files, outputs and manifests, nor behind the letter of a drive."""
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "c:d.onnx").write_bytes(fuzz_running.small_model().SerializeToString())
    assert htp_opt.main([str(folder / "c:d.onnx"), "-o", str(folder / "o:t.onnx"), "--sidecar", "-q"]) == 0
    assert modelexport.main(["validate", str(folder / "o:t.onnx"), "--check-consistency"]) == 0
    assert {path.name for path in folder.iterdir()} == {"c:d.onnx", "o:t.onnx", "o:t_hierarchy.json"}
    (folder / "m.py").write_text("")
    rows = ['{"model": "m.py", "output": "a.onnx"}', '{"model": "m.py:make", "output": "b.onnx"}']
    (folder / "jobs.jsonl").write_text("\n".join(rows))
    before = [entry.fingerprint() for entry in read_manifest(folder / "jobs.jsonl")]
    (folder / "m.py").write_text("changed = True")
    after = [entry.fingerprint() for entry in read_manifest(folder / "jobs.jsonl")]
    assert not set(before) & set(after)


def test_no_module_of_one_system_is_imported_at_the_top() -> None:
    """The commands start where fcntl, resource, termios, pwd and grp can't be imported."""
    program = (
        "import psutil, sys\n"  # which has a way of its own on each system
        "for name in ('fcntl', 'resource', 'termios', 'pwd', 'grp'): sys.modules[name] = None\n"
        "import modelexport.cli.htp_opt, modelexport.ir, modelexport.passes, modelexport.frontend.clients.launching\n"
        "import modelexport.frontend.monitor, modelexport.cli.batching.worker, modelexport.cli.batching.scheduling\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
