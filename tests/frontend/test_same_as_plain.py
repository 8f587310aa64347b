"""The file is the one that plain torch.onnx.export writes, and everything else is left as plain torch leaves it."""

from __future__ import annotations

import copy
import random
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import architectures
import numpy as np
import odd_objects
import onnx
import pytest
import stateful
import torch
from torch import Tensor, nn
from torch_versions import skip_older

from modelexport.frontend.export.exporter import HierarchyExporter
from modelexport.frontend.trace.value_trace import write_trace
from modelexport.ir.errors import ExportError
from modelexport.ir.io.reader import load_model
from modelexport.ir.io.writer import save_model
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.pipeline.manager import PassManager
from modelexport.passes.pipeline.text import Pipeline

BENCH = Path(__file__).parents[2] / "bench" / "accuracy"
sys.path.insert(0, str(BENCH))
try:
    import models as bench_models
finally:
    sys.path.remove(str(BENCH))

EXPORTERS = ["torchscript", "dynamo"]
_COUNTED = re.compile(r"(?<=<eval_with_key>)\.\d+")  # torch counts the modules it makes in a process
ODD = ["fake_buffer", "mute_attributes", "sealed_modules", "containers_that_change", "failing_after_changes"]
QUICK = ["grown_cache", "counter", "lazily_made_table", "random_draw", "hook_that_counts", "renormalised_embedding"]
QUICK += ["hooks_made_on_the_way"]


def left(model: nn.Module, inputs: Any) -> list[Any]:
    """Everything that an export may have changed, in a form that can be compared."""
    modules = [
        (
            name,
            getattr(module, "training", None),
            sorted(vars(module)),
            [plain(value) for _, value in sorted(vars(module).items())],
        )
        for name, module in model.named_modules()
    ]
    return [
        modules,
        plain(inputs),
        plain(torch.random.get_rng_state()),
        random.getstate(),
        plain(np.random.get_state()[1]),
        (torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()),
        (torch.get_default_dtype(), torch.is_inference_mode_enabled(), nn.Module.__dict__["__call__"]),
    ]


def plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        try:
            elements = repr(value.detach().to_dense().tolist())
        except (RuntimeError, TypeError) as error:  # one without elements: meta, fake, nested, quantised
            elements = type(error).__name__
        return (type(value).__name__, str(value.dtype), value.requires_grad, elements)
    if isinstance(value, Mapping):
        return [(key if isinstance(key, str) else "key", plain(inner)) for key, inner in value.items()]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *(plain(inner) for inner in value)]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value if isinstance(value, (int, float, str, type(None))) else type(value).__name__


def options(dynamo: bool) -> dict[str, Any]:
    return {"external_data": False} if dynamo else {}


def by_torch(model: nn.Module, args: tuple[Any, ...], kwargs: Any, path: Path, dynamo: bool, **given: Any) -> None:
    if not kwargs or dynamo:
        torch.onnx.export(model, args, path, kwargs=kwargs, dynamo=dynamo, verbose=False, **options(dynamo), **given)
        return
    original, before = model.forward, dict(vars(model))  # TorchScript takes positions only, and numeric defaults too
    model.forward = lambda *values: original(**dict(zip(kwargs, values, strict=True)))
    try:
        torch.onnx.export(model, tuple(kwargs.values()), path, dynamo=False, **given)
    finally:
        if "forward" in before:
            model.forward = original
        else:
            del model.forward


def without_counts(path: Path) -> str:
    """The model as text; numbers that torch counts up in a process start from 0."""
    found: dict[str, str] = {}
    text = _COUNTED.sub("", str(onnx.load(path)))
    return re.sub(r"(?<=onnx::)\w+_\d+\b", lambda name: found.setdefault(name[0], f"counted_{len(found)}"), text)


def by_us(model: nn.Module, args: tuple[Any, ...], kwargs: Any, path: Path, dynamo: bool, **given: Any) -> None:
    exporter: Any = "dynamo" if dynamo else "torchscript"
    HierarchyExporter(exporter=exporter).export(model, kwargs or args, path, **given)


def stripped(path: Path) -> bytes:
    model = load_model(path)
    PassManager(Pipeline.parse("strip-tags"), context=PassContext()).run(model)
    save_model(model, path)
    return path.read_bytes()


def same(build: Callable[[], tuple[nn.Module, Any]], exporter: str, folder: Path, **given: Any) -> None:
    """Export twice, each time a model made anew, and compare."""
    dynamo, states, files = exporter == "dynamo", [], []
    for name, export in (("torch", by_torch), ("ours", by_us)):
        torch.manual_seed(0)
        model, inputs = build()
        args, kwargs = ((), dict(inputs)) if isinstance(inputs, Mapping) else (inputs, None)
        if isinstance(inputs, Tensor):
            args = (inputs,)
        if kwargs and not dynamo:
            given = {"input_names": [key for key, value in kwargs.items() if isinstance(value, Tensor)], **given}
        torch.manual_seed(1)
        path = folder / name / "m.onnx"
        path.parent.mkdir()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                export(model, args, kwargs, path, dynamo, **copy.deepcopy(given))
        except Exception:
            if name == "torch":
                with pytest.raises(ExportError):
                    by_us(*(lambda m, i: (m, i, None))(*build()), folder / "failed.onnx", dynamo, **given)
                assert not (folder / "failed.onnx").exists()
                return
            raise
        states.append(left(model, inputs))
        files.append(path)
    functions = "export_modules_as_functions" in given  # torch leaves its hooks in the model, we take them away
    for theirs, ours in zip(states[0][functions:], states[1][functions:], strict=True):
        assert ours == theirs
    if stripped(files[1]) != files[0].read_bytes():  # else say where
        ours, theirs = (without_counts(file) for file in (files[1], files[0]))
        assert ours == theirs
        assert re.search(r"onnx::\w+_\d+|eval_with_key", str(onnx.load(files[0])))


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", QUICK)
def test_stateful_models(name: str, exporter: str, tmp_path: Path) -> None:
    same(stateful.BUILDERS[name], exporter, tmp_path)


@pytest.mark.parametrize("name", odd_objects.BUILDERS)
def test_odd_objects(name: str, tmp_path: Path) -> None:
    if name == "fake_buffer":  # torch 2.8 fails here, after reading what it is
        skip_older()
    same(odd_objects.BUILDERS[name], "torchscript", tmp_path)


@pytest.mark.parametrize("name", ODD)
def test_odd_objects_with_dynamo(name: str, tmp_path: Path) -> None:
    same(odd_objects.BUILDERS[name], "dynamo", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in odd_objects.BUILDERS if name not in ODD])
def test_more_odd_objects_with_dynamo(name: str, tmp_path: Path) -> None:
    same(odd_objects.BUILDERS[name], "dynamo", tmp_path)


@pytest.mark.parametrize("name", ["sparse_rows_buffer", "opaque_buffer", "nested_buffer", "containers_that_change"])
def test_a_trace_leaves_odd_objects_alone(name: str, tmp_path: Path) -> None:
    model, inputs = odd_objects.BUILDERS[name]()
    before = left(model, inputs)
    write_trace(model, inputs, tmp_path / "m.htptrace")
    assert left(model, inputs) == before


def test_what_can_not_be_copied_is_left_out_with_one_warning(tmp_path: Path) -> None:
    model, inputs = odd_objects.BUILDERS["mute_attributes"]()
    result = HierarchyExporter(builtin_tracking=False).export(model, inputs, tmp_path / "m.onnx")
    (told,) = [line for line in result["warnings"] if "no operator trace" in line]
    assert told.endswith("can't be copied: RuntimeError: never ask")


def test_a_trace_leaves_random_state_alone(tmp_path: Path) -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        torch.manual_seed(3)
        result: Tensor = self.fc(x) * random.random()
        return result

    model, inputs = stateful._Of(run), (stateful.x(),)
    before = left(model, inputs)
    write_trace(model, inputs, tmp_path / "m.htptrace")
    assert left(model, inputs) == before


@pytest.mark.slow
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", [name for name in stateful.BUILDERS if name not in QUICK])
def test_more_stateful_models(name: str, exporter: str, tmp_path: Path) -> None:
    same(stateful.BUILDERS[name], exporter, tmp_path)


class Within(nn.Module):
    """A model inside another, under a name of the caller's, and something after it."""

    def __init__(self, name: str, inner: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, inner)

    def forward(self, *args: Any) -> Any:
        return torch.relu(getattr(self, self.name)(*args))


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    "name", [name if name in QUICK[:2] else pytest.param(name, marks=pytest.mark.slow) for name in stateful.BUILDERS]
)
def test_stateful_models_within_others(name: str, exporter: str, tmp_path: Path) -> None:
    def build() -> tuple[nn.Module, Any]:
        model, inputs = stateful.BUILDERS[name]()
        return Within("outer", Within(f"{name}_2", model)), inputs

    same(build, exporter, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", architectures.BUILDERS)
def test_architectures(name: str, exporter: str, tmp_path: Path) -> None:
    same(lambda: architectures.get(name), exporter, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", bench_models.MODELS)
def test_models_of_the_benchmark(name: str, exporter: str, tmp_path: Path) -> None:
    def build() -> tuple[nn.Module, Any]:
        model, inputs = bench_models.MODELS[name]()
        return model.eval(), inputs

    same(build, exporter, tmp_path)


class _Kept(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 400)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.fc(self.norm(self.conv(image)).relu().mean((2, 3)))
        return result


def image() -> tuple[nn.Module, Any]:
    return _Kept().eval(), (torch.linspace(-1, 1, 2 * 3 * 64).reshape(2, 3, 8, 8),)


@pytest.mark.parametrize(
    ("exporter", "given"),
    [
        ("torchscript", {"opset_version": 13, "keep_initializers_as_inputs": True}),
        ("torchscript", {"do_constant_folding": False, "input_names": ["i"], "dynamic_axes": {"i": {0: "n"}}}),
        ("torchscript", {"export_params": False}),
        ("torchscript", {"opset_version": 8}),
        ("torchscript", {"opset_version": 6}),
        ("torchscript", {"input_names": ["i", "learned_0", "learned_1"]}),
        ("torchscript", {"output_names": ["o", "p"]}),
        ("torchscript", {"input_names": ["i"], "dynamic_axes": {"unknown": {0: "n"}}}),
        ("torchscript", {"keep_initializers_as_inputs": True, "export_params": False}),
        ("torchscript", {"custom_opsets": {"mine": 3}, "autograd_inlining": False}),
        ("dynamo", {"keep_initializers_as_inputs": True, "export_params": False}),
        ("dynamo", {"input_names": ["i", "j"], "output_names": ["o", "p"], "verify": True}),
        ("torchscript", {"training": torch.onnx.TrainingMode.TRAINING, "output_names": ["o"]}),
        ("torchscript", {"export_modules_as_functions": {nn.Linear}, "opset_version": 15}),
        ("torchscript", {"operator_export_type": torch.onnx.OperatorExportTypes.ONNX_FALLTHROUGH}),
        ("dynamo", {"input_names": ["i"], "output_names": ["o"], "dynamic_axes": {"i": {0: "n"}}}),
        ("dynamo", {"keep_initializers_as_inputs": True, "optimize": False}),
        ("dynamo", {"dynamic_shapes": ({0: "n"},), "opset_version": 21}),
    ],
)
def test_arguments(exporter: str, given: dict[str, Any], tmp_path: Path) -> None:
    same(image, exporter, tmp_path, **given)


def test_the_data_file(tmp_path: Path) -> None:
    for folder in ("torch", "ours"):
        (tmp_path / folder).mkdir()
    torch.manual_seed(0)
    model, args = image()
    torch.onnx.export(model, args, tmp_path / "torch" / "m.onnx", dynamo=True, verbose=False, external_data=True)
    HierarchyExporter(exporter="dynamo").export(model, args, tmp_path / "ours" / "m.onnx", external_data=True)
    data = [(tmp_path / folder / "m.onnx.data").read_bytes() for folder in ("torch", "ours")]
    assert data[0] == data[1]
    assert stripped(tmp_path / "ours" / "m.onnx") == (tmp_path / "torch" / "m.onnx").read_bytes()


def test_nothing_for_a_data_file_leaves_none(tmp_path: Path) -> None:
    given: Any = {"external_data": True}
    HierarchyExporter(exporter="dynamo").export(nn.ReLU(), torch.ones(2), tmp_path / "m.onnx", **given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m_hierarchy.json"]


def test_doc_strings_have_no_frame_of_ours(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, args = image()
    model.fc.register_forward_hook(lambda module, args, output: output * 2.0)  # type: ignore[union-attr]
    docs = []
    for name in ("t.onnx", "m.onnx"):
        if name == "t.onnx":
            torch.onnx.export(model, args, tmp_path / name, dynamo=False, verbose=True)
        else:
            HierarchyExporter(exporter="torchscript").export(model, args, tmp_path / name, verbose=True)
        texts = [node.doc_string for node in onnx.load(tmp_path / name).graph.node]
        own = "test_doc_strings_have_no_frame_of_ours"
        docs.append([[line for line in text.splitlines() if not line.endswith(f": {own}")] for text in texts])
    assert docs[0] == docs[1] and all(docs[0])
