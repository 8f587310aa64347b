"""``tagging()``: what it tells, what it leaves alone, and what happens when our part fails."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import onnx
import pytest
import torch
from export_forms import X, net
from programs import stripped, tags
from torch_versions import needs_dynamo_by_default, skip_older

import modelexport
from modelexport.frontend.torch.torch_internals import torchscript_utils
from modelexport.strategies.htp.exceptions import ConfigError, TaggingError, TaggingWarning


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def export(path: object, dynamo: bool = False) -> object:
    return torch.onnx.export(net(), (X,), path, dynamo=dynamo, verbose=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("dynamo", [False, True])
def test_tags_are_those_of_the_exporter(dynamo: bool) -> None:
    skip_older(dynamo)
    exporter = modelexport.HierarchyExporter(exporter="dynamo" if dynamo else "torchscript")
    with modelexport.tagging() as exports:
        exporter.export(net(), X, "theirs.onnx")
        assert exports == []  # it tags on its own
        export("ours.onnx", dynamo)
    assert tags(Path("ours.onnx")) == tags(Path("theirs.onnx"))
    assert "/Net/Block.1/ReLU" in tags(Path("ours.onnx"))  # the activation that both blocks share, by its caller
    (found,) = exports
    assert (found.path, found.model, found.exporter) == ("ours.onnx", "Net", "dynamo" if dynamo else "torchscript")
    assert found.by_source == {"scope": found.nodes} and found.error is None


def test_nothing_is_left_behind() -> None:
    before = (torch.onnx.export, torch.nn.Module.__dict__["__call__"], list(sys.meta_path))
    from torch.onnx._internal.exporter import _core

    utils = torchscript_utils()
    points = [(_core, "export"), (utils.onnx_proto_utils, "_export_file"), (utils, "_setup_trace_module_map")]
    originals = [getattr(module, name) for module, name in points]
    with pytest.raises(KeyError), modelexport.tagging(), modelexport.tagging():
        assert getattr(*points[0]) is not originals[0]
        export("a.onnx")
        export("b.onnx", dynamo=True)
        raise KeyError
    assert [getattr(module, name) for module, name in points] == originals
    assert (torch.onnx.export, torch.nn.Module.__dict__["__call__"], list(sys.meta_path)) == before
    export("plain.onnx")
    assert set(tags(Path("plain.onnx"))) == {""}


def test_nested_contexts_tag_once_and_are_all_told() -> None:
    with modelexport.tagging(sidecar=True) as outer:
        export("first.onnx")
        with modelexport.tagging(
            pipeline="scope-attribution,fallback-tagging,attribute-embedding{table=false}"
        ) as inner:
            export("second.onnx")
    assert [[each.path for each in told] for told in (outer, inner)] == [["first.onnx", "second.onnx"], ["second.onnx"]]
    assert b"htp.nodes" not in Path("second.onnx").read_bytes()  # the innermost decides
    assert {path.name for path in Path().iterdir()} == {
        "first.onnx", "second.onnx", "first_hierarchy.json", "second_hierarchy.json"
    }  # fmt: skip


_THREADS = """
import contextlib, threading
import torch
import modelexport
from export_forms import X, net

def export(path, dynamo):
    with contextlib.suppress(Exception):  # torch's own: exports in threads change its classes for each other
        torch.onnx.export(net(), (X,), path, dynamo=dynamo, verbose=False)

with modelexport.tagging() as exports:
    threads = [threading.Thread(target=export, args=(f"{number}.onnx", True)) for number in range(2)]
    for thread in threads:
        thread.start()
    export("main.onnx", False)
    for thread in threads:
        thread.join()
print("told", *sorted(each.path for each in exports))
"""


@needs_dynamo_by_default
def test_threads_export_side_by_side() -> None:
    """In a process of its own: torch.export in threads leaves torch.nn.Module changed, with or without us."""
    folders = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", _THREADS],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": folders},
    )
    (told,) = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("told")]
    assert "main.onnx" in told
    assert told == sorted(str(path) for path in Path().glob("*.onnx"))
    assert all(all(tags(Path(name))) for name in told)


@pytest.mark.parametrize("dynamo", [False, True])
def test_a_failure_of_ours_leaves_the_plain_export(dynamo: bool) -> None:
    skip_older(dynamo)
    export("tagged.onnx", dynamo)
    plain = Path("tagged.onnx").read_bytes()
    impossible = "scope-attribution,fallback-tagging,value-attribution"  # there is no trace
    with warnings.catch_warnings(record=True) as seen, pytest.raises(TaggingError, match=r"tagged\.onnx"):
        warnings.simplefilter("default")
        with modelexport.tagging(pipeline=impossible, strict=True) as exports:
            result = export("tagged.onnx", dynamo)
            stream = io.BytesIO()
            export(stream, dynamo)
            export(stream, dynamo)
    assert Path("tagged.onnx").read_bytes() == plain
    assert (result is None) is not dynamo
    told = [entry for entry in seen if entry.category is TaggingWarning]
    assert len(told) == 3 and all(entry.filename == __file__ for entry in told)
    assert str(told[0].message).startswith("modelexport: tagged.onnx: not tagged: ")
    assert str(told[1].message).startswith("modelexport: <stream>: not tagged: ")
    assert [(each.tagged, each.error is not None) for each in exports] == [(False, True)] * 3


@pytest.mark.parametrize("dynamo", [False, True])
def test_strict_passes_what_was_tagged(dynamo: bool) -> None:
    """It stays silent for exports that were tagged: of a file, a stream and inside another context."""
    skip_older(dynamo)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TaggingWarning)
        with modelexport.tagging(strict=True) as exports:
            export("m.onnx", dynamo)
            with modelexport.tagging(strict=True) as inner:
                export(io.BytesIO(), dynamo)
    assert [(each.tagged, each.error) for each in exports] == [(True, None)] * 2 and inner == exports[1:]
    assert all(tags(Path("m.onnx")))


def test_a_memory_limit_leaves_the_plain_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELEXPORT_MEMORY_LIMIT_MB", "1")
    with pytest.warns(TaggingWarning, match="MODELEXPORT_MEMORY_LIMIT_MB"), modelexport.tagging() as exports:
        export("m.onnx")
    assert set(tags(Path("m.onnx"))) == {""} and not exports[0].tagged


def test_a_warning_that_is_an_error_is_raised_at_the_end() -> None:
    with warnings.catch_warnings(), pytest.raises(TaggingWarning):
        warnings.simplefilter("error", TaggingWarning)
        with modelexport.tagging(pipeline="value-attribution,fallback-tagging"):
            export("m.onnx")
            assert Path("m.onnx").exists()


def test_the_blocks_own_exception_wins() -> None:
    with pytest.raises(ZeroDivisionError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with modelexport.tagging(pipeline="value-attribution,fallback-tagging", strict=True):
            export("m.onnx")
            raise ZeroDivisionError


@pytest.mark.parametrize(
    "arguments",
    [
        {"pipeline": "nope"},
        {"pipeline": ""},
        {"pipeline": 3},
        {"pipeline": "htp,constant-folding"},
        {"pipeline": "attribute-embedding"},
        {"sidecar": "yes"},
        {"strict": 1},
    ],
)
def test_arguments_that_cant_be_used(arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        modelexport.tagging(**arguments)  # type: ignore[arg-type]


def test_an_export_that_torch_refused_is_not_told() -> None:
    with modelexport.tagging(strict=True) as exports:
        for dynamo in (False, True):
            with pytest.raises(FileNotFoundError):
                export("missing/m.onnx", dynamo)
    assert exports == [] and list(Path().iterdir()) == []


def test_an_interrupt_is_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelexport.passes.scope_attribution import ScopeAttribution

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ScopeAttribution, "run", interrupted)
    with pytest.raises(KeyboardInterrupt), modelexport.tagging():
        export("m.onnx")


def test_it_can_be_entered_before_torch_is_there() -> None:
    code = """
import sys, modelexport
with modelexport.tagging() as exports:
    assert "torch" not in sys.modules
    import torch
    torch.onnx.export(torch.nn.ReLU(), (torch.ones(2),), "early.onnx", dynamo=False)
print(exports[0].tagged, exports[0].by_source)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True {'scope': 1}\n", done.stderr


def test_weights_are_handed_on_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The larger initializers are never parsed: what is written of them is a view of torch's own bytes."""
    from modelexport.frontend.interception import splicing

    written: list[object] = []
    original = splicing._Instead.write

    def write(self: splicing._Instead, data: bytes) -> int:
        written.extend(piece for piece in self._pieces if isinstance(piece, memoryview) and piece.obj is data)
        return original(self, data)

    monkeypatch.setattr(splicing._Instead, "write", write)
    with modelexport.tagging():
        export("m.onnx")
    large = [entry for entry in onnx.load("m.onnx").graph.initializer if len(entry.raw_data) > splicing.SMALL]
    assert len(written) == len(large) > 0
    assert len(stripped(Path("m.onnx"))) > sum(len(entry.raw_data) for entry in large)
