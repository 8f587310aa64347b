"""The torch side of the trace file: run the model, fingerprint what each operator makes, write ``.htptrace``."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelexport.frontend.inputs.example_inputs import normalise
from modelexport.frontend.torch.copies import copied
from modelexport.frontend.torch.state import kept_random_state
from modelexport.frontend.trace.module_trace import ModelTrace, TraceEvent, trace_model
from modelexport.frontend.trace.naming import module_paths
from modelexport.frontend.trace.twins import twin_views
from modelexport.ir.arrays import Array
from modelexport.ir.io.trace_file import SAMPLES, STATS, Parameter, Trace, save_trace
from modelexport.passes.evidence.values.fingerprints import fingerprint, row_samples
from modelexport.passes.evidence.values.view_building import ViewBuilder

_UNINITIALIZED = (torch.nn.parameter.UninitializedParameter, torch.nn.parameter.UninitializedBuffer)
TWINS = ("dynamo", "torchscript")  # tracing by TorchScript may leave tensors in attributes of the model: last


def write_trace(
    model: torch.nn.Module,
    inputs: Any,
    path: str | PathLike[str],
    *,
    more_inputs: Sequence[Any] = (),
    twins: Iterable[str] = TWINS,
    apart: bool = False,
) -> Path:
    """Run ``model`` once for each set of inputs and write what was seen to ``path``.

    Args:
        model: left as it was, and the inputs too: copies of them run.
        inputs: a tensor, a tuple or list of positional arguments, or a mapping of keyword arguments.
        path: the file to write, by custom ``*.htptrace``.
        more_inputs: further sets of inputs in the same form.
        twins: exporters whose own graph of the model is recorded too, so that shape arithmetic, masks and what else
            only exists in an exported graph is recognised. One that fails is noted in the file. Empty for a quick
            trace.
        apart: ``model`` and ``inputs`` are for this run alone, so they need not be copied.

    Raises:
        ExportError: the forward failed, or the model or its inputs can't be copied.
        OutputError: the file can't be written.
    """
    return save_trace(record(model, inputs, more_inputs=more_inputs, twins=twins, apart=apart), path)


def record(
    model: torch.nn.Module,
    inputs: Any,
    *,
    more_inputs: Sequence[Any] = (),
    twins: Iterable[str] = TWINS,
    apart: bool = False,
) -> Trace:
    """What :func:`write_trace` writes. Raises ExportError."""
    examples = [inputs, *more_inputs]
    views: list[ViewBuilder] = []
    arrays: list[dict[str, Array]] = []
    dtypes: list[dict[str, str]] = []
    seen: ModelTrace | None = None
    for number, example in enumerate(examples):
        call = normalise(example, model=model)
        leaves = {name: leaf for name, leaf in named_tensors(model, call.args, call.kwargs) if is_plain(leaf)}
        arrays.append({name: as_array(tensor).copy() if apart else as_array(tensor) for name, tensor in leaves.items()})
        dtypes.append({name: str(tensor.dtype).removeprefix("torch.") for name, tensor in leaves.items()})
        runner, args, kwargs = (model, call.args, call.kwargs) if apart else copied((model, call.args, call.kwargs))
        recorder = Recorder(parameter_names(runner), dict(named_tensors(runner, args, kwargs)), number)
        shown = trace_model(runner, args, kwargs, on_event=recorder)
        seen = seen or shown
        views.append(recorder.builder)
    assert seen is not None
    table = list(seen.modules)
    index = {module.path: i for i, module in enumerate(table)}
    notes = {"torch": torch.__version__, "model": f"{type(model).__module__}.{type(model).__qualname__}"}
    kinds = tuple(twins)
    if kinds:
        with kept_random_state():
            more, problems = twin_views(model, normalise(inputs, model=model), arrays, kinds)
        views += more
        notes.update(problems)
    rows, stats, samples, lines = parameter_table(model, index)
    return Trace(
        tuple(table),
        rows,
        stats,
        samples,
        lines,
        tuple(arrays),
        tuple(dtypes),
        tuple(view.build(index) for view in views),
        notes,
    )


class Recorder:
    """Observer of one forward: builds the eager view. Tensors are known by weak reference, never kept."""

    def __init__(self, names: Mapping[int, str], leaves: Mapping[str, torch.Tensor], example: int) -> None:
        self.names = names
        self.builder = ViewBuilder("eager", example)
        self.values: dict[int, tuple[weakref.ref[torch.Tensor], int, int]] = {}
        for name, tensor in leaves.items():
            self.builder.inputs[name] = self._new(tensor)

    def __call__(self, event: TraceEvent, reads: tuple[torch.Tensor, ...], makes: tuple[torch.Tensor, ...]) -> None:
        inputs = [self._value(tensor) for tensor in reads]
        outputs = [self._new(tensor) for tensor in makes if not self._unchanged(tensor)]
        if outputs:
            self.builder.event(event.op, event.path, inputs, outputs)

    def _unchanged(self, tensor: torch.Tensor) -> bool:
        """Whether an operator handed back a tensor it was given, as ``dropout`` does outside of training."""
        held = self.values.get(id(tensor))
        return held is not None and held[0]() is tensor and held[2] == _version(tensor)

    def _value(self, tensor: torch.Tensor) -> int:
        held = self.values.get(id(tensor))
        return held[1] if held is not None and held[0]() is tensor else self._new(tensor)

    def _new(self, tensor: torch.Tensor) -> int:
        stats, samples = fingerprint(as_array(tensor)) if is_plain(tensor) else (None, None)
        value = self.builder.value(stats, samples, tuple(tensor.shape), self.names.get(id(tensor), ""))
        self.values[id(tensor)] = (weakref.ref(tensor), value, _version(tensor))
        return value


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether the elements can be read: not sparse, quantised, nested, without storage, nor held by a class that has
    its own idea of where they are (fake and sharded tensors do)."""
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return False
    return tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_meta or tensor.is_nested)


def as_array(tensor: torch.Tensor) -> Array:
    """The elements as a NumPy array; bfloat16 and the 8-bit floats as float32."""
    tensor = tensor.detach()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()
    return np.asarray(tensor.resolve_conj().resolve_neg().cpu().numpy())


def named_tensors(
    model: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Input tensors in the order of the forward's parameters; nested ones as ``name.0.key``."""
    try:
        bound: Mapping[str, Any] = inspect.signature(model.forward).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        bound = {**{f"arg{i}": arg for i, arg in enumerate(args)}, **kwargs}
    for name, value in bound.items():
        yield from _leaves(name, value)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{name}.{key}", item)
    elif isinstance(value, (tuple, list)):
        for i, item in enumerate(value):
            yield from _leaves(f"{name}.{i}", item)


def parameter_names(model: torch.nn.Module) -> dict[int, str]:
    """Name of every parameter and buffer by identity; the first name of a shared one."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {id(tensor): name for name, tensor in named}


def parameter_table(
    model: torch.nn.Module, index: Mapping[str, int]
) -> tuple[tuple[Parameter, ...], Array, Array, Array]:
    """(rows, stats, samples, row samples) of all parameters and buffers; tied ones once, with their other names."""
    found: dict[int, tuple[torch.Tensor, list[tuple[str, int]]]] = {}
    for module, paths in module_paths(model).items():
        for local, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is None or isinstance(tensor, _UNINITIALIZED) or tensor.is_nested:  # these have no shape
                continue
            held = found.setdefault(id(tensor), (tensor, []))[1]
            held.extend((f"{path}.{local}" if path else local, index.get(paths[0], -1)) for path in paths)
    rows: list[Parameter] = []
    prints: list[tuple[Array, Array]] = []
    lines: list[Array] = []
    for tensor, held in found.values():
        rows.append(Parameter(held[0][0], held[0][1], tuple(tensor.shape), tuple(name for name, _ in held[1:])))
        array = as_array(tensor) if is_plain(tensor) else np.zeros(0)
        prints.append(fingerprint(array))
        lines.append(row_samples(array))
    stats = np.array([p[0] for p in prints], np.float64).reshape(-1, STATS)
    samples = np.array([p[1] for p in prints], np.float32).reshape(-1, SAMPLES)
    return tuple(rows), stats, samples, np.array(lines, np.float32).reshape(-1, SAMPLES)
