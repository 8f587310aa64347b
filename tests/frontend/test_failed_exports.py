"""What a failed export leaves: nothing, whichever file or check it fails at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from modelexport.frontend.export import job
from modelexport.frontend.export.exporter import HierarchyExporter
from modelexport.ir.errors import ExportError, MemoryLimitExceeded, OutputError

FILES = ["m.onnx", "m.onnx.data", "m_hierarchy.json"]


def export(target: Path) -> None:
    model, data = torch.nn.Linear(32, 32), torch.ones(2, 32)
    HierarchyExporter().export(model, data, target, opset_version=17, external_data=True)


@pytest.mark.parametrize("failing", FILES)
def test_a_file_that_can_not_be_put_in_place_takes_the_others_with_it(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def refusing(source: Any, place: Any) -> None:
        if Path(place) == tmp_path / failing:
            raise PermissionError(1, "Operation not permitted", str(source), None, str(place))
        replace(source, place)

    monkeypatch.setattr(os, "replace", refusing)
    with pytest.raises(OutputError, match=f"{failing}: Operation not permitted"):
        export(tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    export(tmp_path / "m.onnx")
    assert sorted(os.listdir(tmp_path)) == FILES


def test_files_that_were_there_stay_when_another_can_not_be_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"older")
    replace = os.replace

    def refusing(source: Any, place: Any) -> None:
        if Path(place).name == "m_hierarchy.json":
            raise PermissionError(1, "Operation not permitted", str(source), None, str(place))
        replace(source, place)

    monkeypatch.setattr(os, "replace", refusing)
    with pytest.raises(OutputError, match="Operation not permitted"):
        export(tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == ["m.onnx"]


@pytest.mark.parametrize("when", ["after the export", "before the files are put in place"])
def test_memory_is_looked_at_after_each_large_step(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is crossed at one step only: each of the checks must see it alone."""
    check = job.check_memory

    def crossed(limit_mb: int | None, at: str) -> None:
        check(1 if at == when else limit_mb, at)

    monkeypatch.setattr(job, "check_memory", crossed)
    with pytest.raises(MemoryLimitExceeded, match=f"{when}: .* allows 1$"):
        export(tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []


class Unhashable(torch.nn.Linear):
    def __eq__(self, other: object) -> bool:
        return self is other


class Unlisted(torch.nn.Linear):
    def named_modules(self, *_args: Any, **_named: Any) -> Any:
        raise RuntimeError("no names\nhere")


@pytest.mark.parametrize(
    "kind, told",
    [(Unhashable, "TypeError: unhashable type"), (Unlisted, "RuntimeError: no")],
    ids=["unhashable", "unlisted"],
)
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_model_whose_modules_torch_can_not_list_is_refused(
    kind: Any, told: str, exporter: Any, tmp_path: Path
) -> None:
    model = torch.nn.Sequential(kind(2, 2))
    with pytest.raises(ExportError, match=f"^Sequential: its modules can't be listed: {told}") as caught:
        HierarchyExporter(exporter=exporter).export(model, torch.ones(1, 2), tmp_path / "m.onnx")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []
