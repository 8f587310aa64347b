"""Shapes of every value at every depth, and how often each node runs: from the file, by inference, or seen in a run."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnx

from modelexport.ir.arrays import Array
from modelexport.ir.errors import InputError
from modelexport.ir.io.overlay import assemble
from modelexport.ir.model import Model
from modelexport.passes.running import inputs as running_inputs
from modelexport.passes.running.events import kernel_name, name_in_body, read_events
from modelexport.passes.running.named_copy import Instance, NamedCopy, named_copy
from modelexport.passes.running.session import (
    SessionSettings,
    as_ort_values,
    element_type,
    has_onnxruntime,
    open_session,
    run,
)
from modelexport.passes.running.static_shapes import (
    StaticScope,
    fill_in,
    forget_sizes,
    inferred,
    may_be_complete,
    read_scopes,
)
from modelexport.passes.running.values import Execution, Value

ShapeSource = Literal["static", "inferred", "run"]
_CUT = "the profile of the run is cut short"
_Signature = tuple[str, str]  # input and output shapes of one execution, as JSON


@dataclass(slots=True)
class Shapes:
    """What is known of a model's values for given inputs.

    Attributes:
        source: where they are from; the last of static, inferred, run that was needed.
        inputs: the shapes that the inputs have.
        instances: the nodes as they run, by a name that is theirs alone; see ``named_copy``.
        nodes: their protos, attributes of functions filled in, by the same names; calls of functions are inlined.
        executions: of each instance, its executions of different shapes; none for a branch that isn't taken.
        complete: whether every shape and count is known.
        problems: what kept a run from telling more, one line each.
    """

    source: ShapeSource
    inputs: dict[str, tuple[int, ...]]
    instances: dict[str, Instance]
    nodes: dict[str, onnx.NodeProto]
    executions: dict[str, tuple[Execution, ...]]
    complete: bool = True
    problems: list[str] = field(default_factory=list)


def find_shapes(
    model: Model,
    arrays: Mapping[str, Array] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    may_run: bool = True,
    seed: int = 0,
) -> Shapes:
    """Shapes for inputs that are given, have given shapes, or those of the model with 1 for free dimensions.

    The model is run, once and with optimisations off, where the file and onnx's inference leave something open,
    ``may_run`` allows it and onnxruntime is installed. Its profiler sees every kernel's shapes, bodies included.

    Raises:
        InputError: a given input does not fit the model.
    """
    sizes = running_inputs.resolved_shapes(model, arrays, shapes)
    if arrays:
        running_inputs.check_arrays(model, arrays)
    copy = named_copy(model, metadata=False, weights=False)
    found = Shapes("static", sizes, copy.instances, {}, {})
    makers = sum(node.op_type != "Constant" for node in model.main.nodes)
    may_be_stale = _has_free_sizes(model)
    scopes: Sequence[StaticScope] = ()
    if not may_be_stale and may_be_complete(copy.proto.graph, makers):
        scopes = read_scopes(copy.proto, sizes)
    stated: Sequence[Mapping[str, tuple[int, ...]]] = ()
    if not scopes or not all(scope.complete for scope in scopes):
        if may_be_stale:
            stated = forget_sizes(copy.proto.graph, any(graph.bodies for graph in model.graphs()))
        proto, problem = inferred(copy.proto, sizes)
        if proto is not None:
            found.source = "inferred"
        scopes = read_scopes(copy.proto if proto is None else proto, sizes)
        if problem:
            found.problems.append(problem)
    _take(found, scopes)
    if found.complete:
        return found
    seen = _seen_if_possible(model, arrays, shapes, seed, copy, found) if may_run else None
    if seen is None:
        if stated:
            fill_in(scopes, stated)
            _take(found, scopes)
        return found
    found.source = "run"
    found.complete = _merge(found, scopes, seen)
    if not found.complete and not seen.whole:
        found.problems.append(f"{_CUT}: counts of what runs last are missing")
    return found


def _has_free_sizes(model: Model) -> bool:
    """Whether sizes of inputs are left open: those that the file states of other values are of one choice of them, as
    where a tool made the inputs free and left the rest."""
    return any(info.dims is None or not all(isinstance(d, int) for d in info.dims) for info in _tensors(model))


def _tensors(model: Model) -> list[running_inputs.InputInfo]:
    return [info for info in running_inputs.model_inputs(model) if info.elem_type]


def _take(found: Shapes, scopes: Sequence[StaticScope]) -> None:
    """Nodes, and their executions as static shapes tell them."""
    for scope in scopes:
        for node in scope.nodes:
            found.nodes[node.name] = node.proto
            found.executions[node.name] = (scope.execution(node),) if scope.runs != 0 else ()
    found.complete = all(scope.complete for scope in scopes)


def _seen_if_possible(
    model: Model,
    arrays: Mapping[str, Array] | None,
    shapes: Mapping[str, Sequence[int]] | None,
    seed: int,
    copy: NamedCopy,
    found: Shapes,
) -> _Seen | None:
    """What a run shows; None where it can't be made, and ``found`` says why."""
    if not has_onnxruntime():
        found.problems.append("onnxruntime is not installed: pip install 'modelexport[ort]' to see shapes in a run")
        return None
    try:
        return _run(model, arrays, shapes, seed, copy)
    except InputError as error:
        found.problems.append(str(error))
        return None


@dataclass(slots=True)
class _Seen:
    """Signatures by instance with how often each ran, and whether the profile has the whole run."""

    signatures: dict[str, Counter[_Signature]] = field(default_factory=dict)
    whole: bool = False


def _run(
    model: Model,
    arrays: Mapping[str, Array] | None,
    shapes: Mapping[str, Sequence[int]] | None,
    seed: int,
    named: NamedCopy,
) -> _Seen:
    """Run the model's own file where its names are those of ``named`` already, else a copy: weights are not copied."""
    made = running_inputs.make_inputs(model, arrays, shapes, seed)
    if model.path is not None and _has_own_names(model, named):
        with contextlib.suppress(InputError):
            seen = _profiled(model, model.path, made)
            if _is_of(seen, named):
                return seen
    return _profiled(model, named_copy(model, metadata=False).proto, made)


def _profiled(model: Model, source: onnx.ModelProto | Path, made: Mapping[str, Array]) -> _Seen:
    label = str(model.path or "model")
    feeds = as_ort_values(made, {info.name: info.elem_type for info in running_inputs.model_inputs(model)})
    seen = _Seen()
    with tempfile.TemporaryDirectory(prefix="modelexport-") as folder:
        settings = SessionSettings(profile=str(Path(folder, "run")))
        session = open_session(source, settings, model.base_dir, label)
        del source
        failure: InputError | None = None
        try:
            run(session, feeds, label)
        except InputError as error:
            failure = error
        profile = Path(session.end_profiling())
        del session
        if failure is not None:
            raise failure
        for event in read_events(profile):
            name = kernel_name(event)
            if name is None:
                seen.whole = seen.whole or event.get("name") == "model_run"
                continue
            args = event.get("args", {})
            signature = (json.dumps(args.get("input_type_shape")), json.dumps(args.get("output_type_shape")))
            seen.signatures.setdefault(name_in_body(name), Counter())[signature] += 1
    return seen


def _has_own_names(model: Model, named: NamedCopy) -> bool:
    """Whether the model's file may be run as it is: every node has a name of its own, and nothing was edited."""
    if model.path is None or any(each.calls or name != each.node.name for name, each in named.instances.items()):
        return False
    return assemble(model) is model.proto and model.path.is_file()


def _is_of(seen: _Seen, named: NamedCopy) -> bool:
    """Whether the nodes that ran are those of the model: its file may have become another one."""
    main = {node.name for node in named.proto.graph.node if node.op_type != "Constant"}
    return seen.signatures.keys() <= named.instances.keys() and (not seen.whole or main <= seen.signatures.keys())


def _merge(found: Shapes, scopes: Sequence[StaticScope], seen: _Seen) -> bool:
    """Put what was seen over what is known; whether everything is known now."""
    complete = seen.whole
    for scope in scopes:
        runs = max((seen.signatures[n.name].total() for n in scope.nodes if n.name in seen.signatures), default=0)
        if scope.parent is None:
            runs = max(runs, 1)
        values = _values_seen(scope, seen)
        for node in scope.nodes:
            static = scope.execution(node)
            signatures = seen.signatures.get(node.name)
            executions: list[Execution] = []
            if signatures is not None:
                for (read, made), count in signatures.items():
                    inputs = _aligned(static.inputs, json.loads(read))
                    outputs = _aligned(static.outputs, json.loads(made))
                    executions.append(Execution(count, inputs, outputs))
            elif runs or not any(n.name in seen.signatures for n in scope.nodes):
                # a constant, or an operator that onnxruntime replaced by others: it runs as often as what is beside it
                often: int | None = runs if runs or (seen.whole and not scope.replaced) else static.count
                if often != 0:
                    executions.append(
                        Execution(
                            often,
                            tuple(
                                _known(v, values.get(name)) for v, name in zip(static.inputs, node.inputs, strict=True)
                            ),
                            tuple(
                                _known(v, values.get(name))
                                for v, name in zip(static.outputs, node.outputs, strict=True)
                            ),
                            static.reason,
                        )
                    )
            if scope.parent is not None and not seen.whole:
                told = sum(each.count or 0 for each in executions)
                if static.count is None or static.count > told:
                    executions.append(Execution(None, static.inputs, static.outputs, _CUT))
            found.executions[node.name] = tuple(executions)
            complete = complete and all(execution.known for execution in executions)
    return complete


def _values_seen(scope: StaticScope, seen: _Seen) -> dict[str, Value]:
    """Values of a scope by what the kernels that ran once there read and made."""
    values: dict[str, Value] = {}
    for node in scope.nodes:
        signatures = seen.signatures.get(node.name)
        if signatures is None or len(signatures) != 1:
            continue
        (read, made), static = next(iter(signatures)), scope.execution(node)
        for names, known, shown in ((node.inputs, static.inputs, read), (node.outputs, static.outputs, made)):
            for name, value in zip(names, _aligned(known, json.loads(shown)), strict=True):
                if value is not None and value.dims is not None:
                    values[name] = value
    return values


def _known(static: Value | None, seen: Value | None) -> Value | None:
    if static is None or not static.is_tensor or seen is None:
        return static
    return Value(static.elem_type or seen.elem_type, seen.dims)


def _aligned(slots: Sequence[Value | None], listed: Any) -> tuple[Value | None, ...]:
    """Slots with what the profiler lists of them: ``{type: dims}`` for each tensor that is there, in order.

    Weights that a kernel has packed for itself are not listed, so a slot whose sizes are known may be passed over.
    """
    shapes = [next(iter(entry.items())) for entry in listed or () if isinstance(entry, dict) and entry]
    filled = list(slots)

    def match(index: int, position: int) -> bool:
        if index == len(slots):
            return position == len(shapes)
        slot = slots[index]
        if slot is not None and slot.is_tensor and position < len(shapes):
            kind, dims = shapes[position]
            if slot.dims in (None, tuple(dims)) and match(index + 1, position + 1):
                filled[index] = Value(slot.elem_type or element_type(kind), tuple(dims))
                return True
        passes = slot is None or not slot.elem_type or not slot.is_tensor or slot.dims is not None
        return passes and match(index + 1, position)

    if not match(0, 0):
        present = [index for index, slot in enumerate(slots) if slot is not None and slot.is_tensor]
        if len(present) == len(shapes):  # the file states other sizes than the run had
            for index, (kind, dims) in zip(present, shapes, strict=True):
                filled[index] = Value((slots[index] or Value(0, None)).elem_type or element_type(kind), tuple(dims))
    return tuple(filled)
