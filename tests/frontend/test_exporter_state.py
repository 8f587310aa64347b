"""What an export leaves behind: nothing but its files, whether it succeeds or fails."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path
from typing import Any

import architectures
import ground_truth
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from modelexport.frontend.export.exporter import HierarchyExporter
from modelexport.frontend.torch import calls, scopes
from modelexport.frontend.torch.torch_internals import torchscript_utils
from modelexport.ir.errors import ExportError, OutputError


class Stateful(nn.Module):
    """Dropout, mixed training flags, a hook; fails when asked to."""

    def __init__(self, fail: str = "") -> None:
        super().__init__()
        self.fc, self.drop, self.norm = nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)
        self.fail = fail
        self.fc.register_forward_hook(lambda module, args, output: output + 1.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(self.fc(x)))
        if self.fail == "forward" or (self.fail == "trace" and torch._C._get_tracing_state()):
            raise RuntimeError("no good\nsecond line")
        if self.fail == "operator":
            return torch.special.bessel_j0(x)
        return x


def state_of(model: nn.Module) -> Any:
    import torch.jit._trace

    utils: Any = torchscript_utils()
    return (
        [(name, module.training) for name, module in model.named_modules()],
        [(list(module._forward_hooks), list(module._forward_pre_hooks)) for module in model.modules()],
        [sorted(vars(module)) for module in model.modules()],
        {name: value.tolist() for name, value in model.state_dict().items()},
        torch.is_grad_enabled(),
        torch.is_autocast_cache_enabled(),
        torch.random.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.jit._trace._trace_module_map,
        dict(vars(utils.GLOBALS)),
        nn.Module.__call__,
        getattr(utils, scopes.MAP_HOOK),
        getattr(torch._C, scopes.NAME_HOOK),
        getattr(torch._C, scopes.SCRIPT_HOOK),
        torch._C._jit_pass_onnx_deduplicate_initializers,
    )


@pytest.mark.parametrize("fail", ["", "forward", "trace", "operator"])
@pytest.mark.parametrize("example", [torch.ones(2, 4), {"x": torch.ones(2, 4)}], ids=["tensor", "mapping"])
def test_all_is_as_before(fail: str, example: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = Stateful(fail)
    model.train()
    model.norm.eval()
    before = state_of(model)
    if fail:
        with pytest.raises(ExportError) as caught:
            HierarchyExporter(exporter="torchscript").export(model, example, tmp_path / "m.onnx", opset_version=17)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
        assert caught.value.__cause__ is not None
        assert os.listdir(tmp_path) == []
    else:
        HierarchyExporter().export(model, example, tmp_path / "m.onnx", opset_version=17)
        assert sorted(os.listdir(tmp_path)) == ["m.onnx", "m_hierarchy.json"]
    assert state_of(model) == before
    assert capfd.readouterr().out == ""


def test_all_is_as_before_with_dynamo(tmp_path: Path) -> None:
    model = Stateful().eval()
    model.drop.train()
    before = state_of(model)
    HierarchyExporter(exporter="dynamo").export(model, torch.ones(2, 4), tmp_path / "m.onnx")
    assert state_of(model) == before
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "m_hierarchy.json"]


def test_an_existing_file_survives_a_failed_export(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"kept")
    with pytest.raises(ExportError):
        HierarchyExporter().export(Stateful("forward").eval(), torch.ones(2, 4), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == b"kept"


def test_what_forward_prints_arrives_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Talks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            os.write(1, b"hello\n")
            return x * 2

    HierarchyExporter().export(Talks(), torch.ones(3), tmp_path / "m.onnx", opset_version=17)
    assert capfd.readouterr().out == "hello\n"  # torch's trace; nothing else runs the model


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        HierarchyExporter().export(Stateful().eval(), torch.ones(2, 4), tmp_path / "no" / "m.onnx")


def test_two_threads_export_at_once(tmp_path: Path) -> None:
    names = ["encoder", "hooked", "unet", "looped_recursive"]
    results: dict[str, Any] = {}

    def work(name: str) -> None:
        model, example = architectures.get(name)
        results[name] = HierarchyExporter().export(model, example, tmp_path / f"{name}.onnx", opset_version=17)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        assert set(results[name]["by_source"]) == {"scope"}, name
        model, example = architectures.get(name)
        HierarchyExporter().export(model, example, tmp_path / "alone.onnx", opset_version=17)
        assert ground_truth.paths_in(tmp_path / "alone.onnx") == ground_truth.paths_in(tmp_path / f"{name}.onnx")


def test_other_threads_do_not_see_the_watch() -> None:
    seen: list[Any] = []

    def around(module: nn.Module, proceed: Any, args: Any, kwargs: Any) -> Any:
        seen.append(module)
        return proceed(module, *args, **kwargs)

    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    with calls.watch_calls(around):
        thread = threading.Thread(target=lambda: other(torch.ones(2)))
        thread.start()
        thread.join()
        model(torch.ones(2))
    assert seen == [model]


@pytest.mark.parametrize("hook", [scopes.MAP_HOOK, scopes.NAME_HOOK])
def test_without_a_hook_point_node_names_serve(hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch that lacks the function: simulated by hiding it from us, while torch keeps its own reference."""
    monkeypatch.setattr(scopes, "has_point", lambda owner, name: name != hook)
    model, example = architectures.get("looped_recursive")
    result = HierarchyExporter().export(model, example, tmp_path / "m.onnx", opset_version=17)
    assert any(hook in warning for warning in result["warnings"])
    assert set(result["by_source"]) == {"scope"}
    paths = {path for path, _, _ in ground_truth.paths_in(tmp_path / "m.onnx").values()}
    assert paths == {"", "cell", "holder.inner", "holder.inner.fc"}


def test_without_the_script_hook_only_script_functions_lose_their_scope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scopes, "has_point", lambda owner, name: name != scopes.SCRIPT_HOOK)
    model, example = architectures.get("hooked")
    result = HierarchyExporter().export(model, example, tmp_path / "m.onnx", opset_version=17)
    assert result["by_source"]["scope"] == result["total_operations"] - 4
    assert any(scopes.SCRIPT_HOOK in warning for warning in result["warnings"])


def test_node_names_are_torchs_own_with_modules_as_functions(tmp_path: Path) -> None:
    """Functions are named after the class part of a scope, which carries our number otherwise."""
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    result = HierarchyExporter().export(
        model, torch.ones(1, 3), tmp_path / "m.onnx", opset_version=17, export_modules_as_functions={nn.Linear}
    )
    functions = onnx.load(tmp_path / "m.onnx").functions
    assert [function.name for function in functions] == ["Linear"]
    assert result["tagged_operations"] == result["total_operations"]
    assert not hasattr(model[0], "_onnx_attrs") and not model[0]._forward_hooks


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_statistics_are_as_plain_torch_leaves_them(exporter: Any, tmp_path: Path) -> None:
    """TorchScript's trace in training mode counts as a forward, torch.export's run on fake tensors does not."""
    given = {"training": torch.onnx.TrainingMode.TRAINING} if exporter == "torchscript" else {}
    data, left = torch.randn(3, 4), []
    for plain in (True, False):
        model = torch.nn.Sequential(torch.nn.BatchNorm1d(4)).train()
        if plain:
            dynamo = exporter == "dynamo"
            torch.onnx.export(model, (data,), tmp_path / "p.onnx", dynamo=dynamo, verbose=False, **given)
        else:
            HierarchyExporter(exporter=exporter).export(model, data, tmp_path / "m.onnx", **given)
        left.append(model.state_dict())
    assert all(torch.equal(value, left[1][name]) for name, value in left[0].items())


@pytest.mark.posix
@pytest.mark.parametrize("name", ["m.onnx", "m.onnx.data", "m_hierarchy.json"])
def test_what_is_no_file_is_not_replaced(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(OutputError, match="not a regular file"):
        HierarchyExporter().export(torch.nn.ReLU(), torch.ones(2), tmp_path / "m.onnx", opset_version=17)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).is_fifo()


def test_a_link_to_another_file_system_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "m.onnx").symlink_to(tmp_path / "there" / "real.onnx")
    replace = os.replace

    def refusing(source: Any, place: Any) -> None:
        if Path(source).name == "m_hierarchy.json":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, place)

    monkeypatch.setattr(os, "replace", refusing)
    HierarchyExporter().export(torch.nn.ReLU(), torch.ones(2), tmp_path / "m.onnx", opset_version=17)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m_hierarchy.json", "there"]
    assert (tmp_path / "m.onnx").is_symlink() and (tmp_path / "there" / "real.onnx").is_file()


def test_files_are_on_the_disk_before_they_get_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    renamed: dict[str, bool] = {}
    fsync, replace = os.fsync, os.replace

    def syncing(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def replacing(source: Any, place: Any) -> None:
        renamed[Path(place).name] = os.stat(source).st_ino in synced
        replace(source, place)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(os, "replace", replacing)
    model = torch.nn.Linear(32, 32)
    HierarchyExporter().export(model, torch.ones(2, 32), tmp_path / "m.onnx", opset_version=17, external_data=True)
    assert {"m.onnx", "m.onnx.data", "m_hierarchy.json"} <= renamed.keys() and all(renamed.values())
