"""Every way to export, with and without ``tagging()``: files, results and what is left behind are the same."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import export_forms
import onnx
import pytest
from export_forms import FORMS
from programs import stripped, tags
from torch_versions import skip_older

import modelexport

OTHER_PROCESS = {"ts_scripted", "ts_traced"}  # torch counts up names of scripted classes: two runs never agree
REFUSED = {"ts_refused", "dy_refused", "ts_no_folder", "dy_no_folder"}
EITHER_BODY = {"ts_local_functions"}  # torch takes the names in a function from one of its modules, by their addresses
GROWS = {"ts_bytesio", "ts_open_file", "dy_bytesio"}  # they return the size of what was written


def outcome(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[tuple[object, ...], list[Path]]:
    folder.mkdir()
    monkeypatch.chdir(folder)
    left = export_forms.do([name])[name]
    return left, sorted(folder.iterdir())


def counted(data: bytes) -> bytes:
    """A model whose functions' values are named by their order."""
    model = onnx.ModelProto.FromString(data)
    for function in model.functions:
        names: dict[str, str] = {}
        for held in (function.input, function.output, *(each for n in function.node for each in (n.input, n.output))):
            held[:] = [names.setdefault(value, str(len(names))) for value in held]
    return model.SerializeToString()


@pytest.mark.parametrize("name", sorted(FORMS.keys() - OTHER_PROCESS))
def test_only_metadata_is_added(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("dy_bytesio", "dy_converted", "dy_default"):
        skip_older()
    made = []
    for kind in ("plain", "tagged"):  # one line calls both: torch writes it into doc strings
        with modelexport.tagging(strict=True) if kind == "tagged" else nullcontext([]) as exports:
            made.append(outcome(tmp_path / kind, name, monkeypatch))
    (plain, files), (found, tagged) = made
    assert [file.name for file in tagged] == [file.name for file in files]
    for before, after in zip(files, tagged, strict=True):
        if before.suffix == ".onnx":
            alike = counted if name in EITHER_BODY else bytes
            assert alike(stripped(after)) == alike(before.read_bytes()), before.name
            assert all(tags(after)) and b"htp.nodes" in after.read_bytes() and b"htp.modules" in after.read_bytes()
        else:
            assert after.read_bytes() == before.read_bytes(), before.name
    if name in GROWS:
        assert found[1:] == plain[1:] and found[0] > plain[0]  # type: ignore[operator]
    elif name == "dy_no_folder":  # torch's message has a random name in it
        assert found[1:] == plain[1:]
    else:
        assert found == plain
    assert len(exports) == (0 if name in REFUSED else 2 if name == "dy_shapes" else 1)
    for export in exports:
        assert export.tagged and export.error is None and export.nodes == sum(export.by_source.values()) > 0
        assert export.exporter == ("torchscript" if name.startswith("ts_") else "dynamo")
