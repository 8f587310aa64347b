"""Module calls heard while torch's exporters run a model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch_versions import needs_dynamo_by_default

from modelexport.frontend.torch.torch_internals import ready
from modelexport.frontend.trace.watching import Watch, watching

for each in ("torchscript", "dynamo"):  # which torch imports at the first export
    ready(each)

ONE = torch.ones(2, 4)


class Block(nn.Module):
    def __init__(self, act: nn.Module | None = None) -> None:
        super().__init__()
        self.fc, self.act = nn.Linear(4, 4), act or nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.act(self.fc(x))
        return result


class Net(nn.Module):
    """Shared, nested, unregistered and uncalled modules."""

    def __init__(self) -> None:
        super().__init__()
        act = nn.ReLU()
        self.first, self.second, self.unused = Block(act), Block(act), nn.Linear(4, 4)
        self.many = nn.ModuleList([nn.Linear(4, 4), Block()])
        self.plain = [nn.Linear(4, 4).requires_grad_(False)]

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        for each in self.many:
            x = each(x)
        result: Tensor = self.plain[0](x).relu()
        return result


def export(model: nn.Module, dynamo: bool, x: Tensor = ONE, **options: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "m.onnx"  # older versions write to no stream
        given: dict[str, Any] = {"verbose": False, "external_data": False, **options}
        torch.onnx.export(model, (x,), str(file), dynamo=dynamo, **given)
        return file.read_bytes()


def watched(model: nn.Module, dynamo: bool, x: Tensor = ONE) -> Watch:
    with watching(model) as watch:
        export(model, dynamo, x)
    return watch


@pytest.mark.parametrize("dynamo", [False, True])
def test_calls_go_by_the_callers_name(dynamo: bool) -> None:
    watch = watched(Net().eval(), dynamo)
    assert [(call.path, call.named, call.parent) for call in watch.calls] == [
        ("", True, -1),
        ("first", True, 0),
        ("first.fc", True, 1),
        ("first.act", True, 1),
        ("second", True, 0),
        ("second.fc", True, 4),
        ("second.act", True, 4),
        ("many.0", True, 0),
        ("many.1", True, 0),
        ("many.1.fc", True, 8),
        ("many.1.act", True, 8),
        ("", False, 0),
    ]
    assert watch.calls[3].module == watch.calls[6].module
    assert watch.calls[1].cls == f"{Block.__module__}.Block"
    assert watch.counts["second.act"] == 1 and "unused" not in watch.counts and "many" not in watch.counts
    # linear, relu, linear, relu, linear, linear, relu, linear, relu: the last two belong to the root
    assert watch.operation_trace_length == 9 and watch.native_op_regions == 8


@pytest.mark.parametrize("dynamo", [False, True])
def test_the_file_and_the_class_are_as_without(dynamo: bool) -> None:
    model, before = Net().eval(), nn.Module.__dict__["__call__"]
    options = {} if dynamo else {"verbose": True}
    plain = export(model, dynamo, **options)
    with watching(model), watching(model):
        ours = export(model, dynamo, **options)
    assert _without_own_line(ours) == _without_own_line(plain)
    assert nn.Module.__dict__["__call__"] is before
    assert torch.fx._symbolic_trace._orig_module_call is before


def _without_own_line(data: bytes) -> list[str]:
    model = onnx.load_from_string(data)
    own = "test_the_file_and_the_class_are_as_without"
    lines = [line for node in model.graph.node for line in node.doc_string.splitlines() if own not in line]
    for node in model.graph.node:
        node.ClearField("doc_string")
    return [*lines, str(model)]


class Recursive(nn.Module):
    """Calls itself, and holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.again: Any = self

    def forward(self, x: Tensor, depth: int = 2) -> Tensor:
        x = self.fc(x)
        if depth:
            x = self.again(x, depth - 1)
        result: Tensor = self.fc(x)
        return result


def test_a_name_never_passes_an_instance_twice() -> None:
    model = Recursive()
    with watching(model) as watch, torch.no_grad():
        model(ONE)
    assert watch.counts == {"": 3, "fc": 6}
    assert [call.parent for call in watch.calls] == [-1, 0, 0, 2, 2, 4, 4, 2, 0]


def test_branches_that_dynamo_compiles_are_left_to_it() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.yes, self.no, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.head(torch.cond(x.sum() > 0, lambda y: self.yes(y), lambda y: self.no(y), (x,)))
            return result

    model = Branches().eval()
    watch = watched(model, dynamo=True)
    assert watch.counts == {"": 1, "head": 1}
    plain = export(Branches().eval(), dynamo=True)
    assert len(onnx.load_from_string(plain).graph.node) > 0


@needs_dynamo_by_default
def test_a_compiled_module_is_transparent() -> None:
    model = nn.Sequential(nn.Linear(4, 4), torch.compile(nn.Sequential(nn.ReLU()), backend="eager"))  # type: ignore[arg-type]
    assert watched(model.eval(), dynamo=True).counts == {"": 1, "0": 1, "1": 1, "1.0": 1}


def test_hooks_run_inside_their_module() -> None:
    model = nn.Sequential(Block(), nn.Linear(4, 4)).eval()
    extra = nn.Linear(4, 4).requires_grad_(False)
    model[0].register_forward_hook(lambda module, args, output: extra(output))
    with watching(model) as watch:
        export(model, dynamo=False)
    assert [(call.path, call.named) for call in watch.calls] == [
        ("", True), ("0", True), ("0.fc", True), ("0.act", True), ("0", False), ("1", True),
    ]  # fmt: skip


def test_an_exception_takes_it_away() -> None:
    before = nn.Module.__dict__["__call__"]
    with pytest.raises(RuntimeError), watching(Net()) as watch:
        Net()(torch.ones(3, 3))
    assert nn.Module.__dict__["__call__"] is before and watch.calls == () and watch.current is None
