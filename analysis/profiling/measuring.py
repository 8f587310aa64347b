"""Profiling a model: the run, and what the names in its profile stand for."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

from modelexport.analysis.profiling.ort_events import Recording, read_recording
from modelexport.ir.arrays import Array
from modelexport.ir.attribution import Attribution
from modelexport.ir.errors import InputError, MissingExtraError
from modelexport.ir.identity.keys import node_keys
from modelexport.ir.io.atomic import atomic_output
from modelexport.ir.io.overlay import assemble
from modelexport.ir.io.reader import from_proto, load_model
from modelexport.ir.model import Model
from modelexport.ir.modules.module import Module
from modelexport.ir.node import Node
from modelexport.passes.attribute_embedding import AttributeEmbedding
from modelexport.passes.pipeline.attributed import attributed
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.running.events import name_in_body
from modelexport.passes.running.inputs import make_inputs, model_inputs
from modelexport.passes.running.named_copy import FRESH, Instance, named_copy
from modelexport.passes.running.session import (
    CPU,
    Optimization,
    SessionSettings,
    as_ort_values,
    check_providers,
    open_session,
    run,
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is run to be profiled; see ``profile``."""

    runs: int = 20
    warmup: int = 5
    optimization: Optimization = "all"
    providers: tuple[str, ...] = ()
    threads: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Named:
    """What a name in a profile stands for: the key of the node, its operator, and its attribution."""

    key: str
    op_type: str
    attribution: Attribution | None


@dataclass(slots=True)
class Names:
    """Names of a profile. A name that two nodes have stands for none, unless they are of one module.

    Attributes:
        found: what each name stands for.
        shared: by name that nodes of several graphs have, what they are called in ``found``, by the node around them.
            onnxruntime names what it makes graph by graph. Without it, where products of a main graph and of a Scan's
            body become Gemms between two Reshapes, 30 % of the time has no module.
    """

    found: dict[str, Named] = field(default_factory=dict)
    shared: dict[str, dict[str, str]] = field(default_factory=dict)

    def tell_apart(self, recording: Recording) -> None:
        """Call executions by the names in ``found`` where several graphs have one."""
        slices = [each for one in recording.runs for each in one.slices if each.name in self.shared]
        around = [each.parent.name if each.parent is not None else "" for each in slices]
        for each, owner in zip(slices, around, strict=True):
            each.name = self.shared[each.name].get(owner, each.name)

    def lookup(self, name: str, op_type: str) -> Named | None:
        """What ``name`` stands for, if it is an ``op_type`` (where the profile says one)."""
        for called in dict.fromkeys((name_in_body(name), name)):
            named = self.found.get(called)
            if named is not None and (not op_type or named.op_type == op_type):
                return named
        return None


@dataclass(slots=True)
class Measured:
    """A recording with its names; ``modules`` has what the graph that ran knows of modules."""

    recording: Recording
    names: Names
    version: str
    modules: tuple[Module, ...] = ()


def measure(
    model: Model,
    inputs: Mapping[str, Array] | None,
    shapes: Mapping[str, Sequence[int]] | None,
    settings: Settings,
    save_profile: Path | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Run ``model``, whose nodes have attributions, under onnxruntime's profiler.

    A copy runs in which every node has a name of its own. The optimised model of the same session is saved and
    attributed, through the table that is embedded in it; what the original is called there keeps its attribution.

    Raises:
        InputError: an input does not fit, a provider is not there, or the model can't be run.
        MissingExtraError: onnxruntime is not installed.
        OutputError: ``save_profile`` can't be written.
    """
    label = str(model.path or "model")
    if not len(model.main):
        raise InputError(f"{label}: has no node to time")
    check_providers(settings.providers, "profile")
    made = make_inputs(model, inputs, shapes, settings.seed)
    copy, instances = _tagged_copy(model)
    feeds = as_ort_values(made, {info.name: info.elem_type for info in model_inputs(model)})
    with tempfile.TemporaryDirectory(prefix="modelexport-") as folder:
        optimized = Path(folder, "optimized.onnx")
        asked = SessionSettings(
            settings.optimization,
            settings.providers or (CPU,),
            settings.threads,
            str(Path(folder, "profile")),
            str(optimized),
        )
        session = open_session(copy, asked, model.base_dir, label)
        del copy
        total = settings.warmup + settings.runs
        try:
            for number in range(total):
                run(session, feeds, label)
                if progress is not None:
                    progress(number + 1, total)
        finally:
            profile = Path(session.end_profiling())
        del session
        recording = read_recording(profile, settings.warmup)
        names = Names(_names_of_copy(model, instances))
        modules: tuple[Module, ...] = ()
        if optimized.exists():
            modules = _add_optimized(names, optimized, model, recording)
        if save_profile is not None:
            with profile.open("rb") as source, atomic_output(save_profile) as target:
                shutil.copyfileobj(source, target)
    return Measured(recording, names, _version(), modules)


def _tagged_copy(model: Model) -> tuple[onnx.ModelProto, dict[str, Instance]]:
    """A copy with unique names and the attributions in an embedded table."""
    copy = named_copy(model, metadata=False)
    whole = from_proto(copy.proto, path=model.path)
    for module in model.modules:
        whole.modules.add(module)
    for node in whole.nodes():
        instance = copy.instances.get(node.name)
        attribution = instance.attribution if instance is not None else None
        if attribution is not None:
            node.attribute_to(attribution)
    AttributeEmbedding(interop="none").run(whole, PassContext())
    return assemble(whole), copy.instances


def _add_optimized(names: Names, file: Path, original: Model, recording: Recording | None = None) -> tuple[Module, ...]:
    """What an optimiser made: nodes of the optimised model that the original does not have; ``recording`` is of it."""
    model = attributed(load_model(file))
    known = _paths(original)
    told = _names_of(model)
    names.shared.update(told.shared)
    if recording is not None:
        names.tell_apart(recording)
    for name, named in told.found.items():
        held = names.found.get(name)
        if held is None or held.op_type != named.op_type:
            names.found[name] = replace(named, attribution=_at_home(named.attribution, known))
    if recording is not None:
        for name, node in _in_order(model, recording, names).items():
            names.found[name] = Named(name, node.op_type, _at_home(node.attribution, known))
    return tuple(module for module in model.modules if module.path in known)


def _in_order(model: Model, recording: Recording, names: Names) -> dict[str, Node]:
    """Nodes that an optimiser made without a name, by what onnxruntime calls them, ``Op_<a number that it gives>``.

    It runs the nodes in the order in which it writes them, so those of a type are told by their order, outside of
    bodies; not where the profile and the file have a different number of them.
    """
    ran: dict[str, dict[str, None]] = {}
    for each in sorted(recording.runs[0].slices, key=lambda each: each.start):
        base, _, number = each.name.rpartition("_")
        is_numbered = each.parent is None and base == each.op_type and number.isdecimal()
        if is_numbered and names.lookup(each.name, each.op_type) is None:
            ran.setdefault(each.op_type, {})[each.name] = None
    nameless: dict[str, list[Node]] = {}
    for node in model.main.nodes:
        if not node.name:
            nameless.setdefault(node.op_type, []).append(node)
    return {
        name: node
        for op_type, called in ran.items()
        if len(called) == len(nameless.get(op_type, ()))
        for name, node in zip(called, nameless[op_type], strict=True)
    }


def _paths(model: Model) -> set[str]:
    """Paths of a model's modules and of the containers around them."""
    found: set[str] = {""}
    listed = {_path(node.attribution) or "" for node in model.nodes()} | {module.path for module in model.modules}
    for path in listed:
        while path not in found:
            found.add(path)
            path = path.rpartition(".")[0]
    return found


def _at_home(attribution: Attribution | None, known: set[str]) -> Attribution | None:
    """An attribution to a module of the model; where a name of onnxruntime's misled, to the one that the path ends in.

    It puts ``_if_then_branch_``, ``InsertedPrecisionFreeCast_`` or ``FusedBack_`` before names of nodes and weights.
    Where the rest is no module either, the module is not known.
    """
    if attribution is None or attribution.path in known:
        return attribution
    path = attribution.path.replace("%2E", ".")
    rests = (path[place.end() :] for place in re.finditer(r"[._/]+", path))
    found = next((rest for rest in rests if rest and rest in known), None)
    return None if found is None else replace(attribution, path=found)


def _names_of(model: Model) -> Names:
    """Nodes by name; nodes of several modules that have one are told by the node whose body they are in, if at all."""
    nodes: dict[str, list[tuple[str, Named]]] = {}
    for key, node in node_keys(model):
        if node.name:
            owner = node.graph.owner
            around = owner.name if owner is not None else ""
            nodes.setdefault(node.name, []).append((around, Named(key, node.op_type, node.attribution)))
    names = Names()
    for name, held in nodes.items():
        if _are_one(held):
            names.found[name] = held[0][1]
            continue
        for around in dict.fromkeys(around for around, _ in held):
            here = [each for each in held if each[0] == around]
            called = f"{around}/{name}" if around else name
            if _are_one(here) and (not around or called not in nodes):
                names.found[called] = here[0][1]
                names.shared.setdefault(name, {})[around] = called
            elif not around:
                names.shared.setdefault(name, {})
    return names


def _are_one(held: Sequence[tuple[str, Named]]) -> bool:
    """Whether it makes no difference which of these nodes is meant."""
    return len({(_path(named.attribution), named.op_type) for _, named in held}) == 1


def _path(attribution: Attribution | None) -> str | None:
    return None if attribution is None else attribution.path


def recorded_names(model: Model, read: Recording, optimization: Optimization) -> tuple[Names, tuple[Module, ...]]:
    """What the names in a recorded profile stand for; ``read`` gets a warning where some can't be told.

    Args:
        model: the model that was run, or the optimised one that was saved.
        optimization: level at which the model is optimised again where it has not all the names.
    """
    names = _names_of(model)
    names.tell_apart(read)
    events = {each.name: each.op_type for one in read.runs for each in one.slices}
    missing = {name for name, op_type in events.items() if names.lookup(name, op_type) is None}
    modules: tuple[Module, ...] = ()
    if missing:
        modules = _add_own_copy(names, model, missing, optimization, read)
        missing = {name for name in missing if names.lookup(name, events[name]) is None}
    if missing:
        for name, node in _by_index(model, {name: events[name] for name in missing}).items():
            names.found[name] = Named(name, node.op_type, node.attribution)
            missing.discard(name)
    if missing:
        proto = assemble(model)
        modules = modules or _rebuilt(names, model, _embedded(model, proto), optimization, read)
        for name in missing:  # a node that was fused but kept its name, in a graph optimised otherwise
            held = names.found.get(name)
            if held is not None and held.op_type != events[name] and events[name]:
                names.found[name] = Named(held.key, events[name], held.attribution)
    return names, modules


def _rebuilt(
    names: Names, model: Model, tagged: onnx.ModelProto, optimization: Optimization, read: Recording
) -> tuple[Module, ...]:
    """Add the names of the graph that ``tagged`` is optimised to; ``read`` gets a warning where that can't be done."""
    try:
        with tempfile.TemporaryDirectory(prefix="modelexport-") as folder:
            optimized = Path(folder, "optimized.onnx")
            settings = SessionSettings(optimization, optimized=str(optimized))
            open_session(tagged, settings, model.base_dir, str(model.path or "model"))
            modules = _add_optimized(names, optimized, model)
    except (InputError, MissingExtraError) as error:
        read.warnings.append(f"the optimised graph can't be built again, so its names are not known: {error}")
        return ()
    names.tell_apart(read)
    return modules


def _add_own_copy(
    names: Names, model: Model, missing: set[str], optimization: Optimization, read: Recording
) -> tuple[Module, ...]:
    """Add the names of a profile that ``measure`` kept: those of its copy, which the model has not itself."""
    if not any(FRESH in name for name in missing):
        return ()
    tagged, instances = _tagged_copy(model)
    told = _names_of_copy(model, instances)
    if not any(name.partition("/")[0] in told or name in told for name in missing):
        return ()
    for name, named in told.items():
        names.found.setdefault(name, named)
    return _rebuilt(names, model, tagged, optimization, read) if missing - told.keys() else ()


def _names_of_copy(model: Model, instances: Mapping[str, Instance]) -> dict[str, Named]:
    keys = {node: key for key, node in node_keys(model)}
    return {
        name: Named(name if each.calls else keys[each.node], each.node.op_type, each.attribution)
        for name, each in instances.items()
    }


def _embedded(model: Model, proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose names are the model's own, with the attributions in an embedded table."""
    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    whole = from_proto(copied, path=model.path)
    for module in model.modules:
        whole.modules.add(module)
    for mine, node in zip(whole.nodes(), model.nodes(), strict=True):
        if node.attribution is not None:
            mine.attribute_to(node.attribution)
    AttributeEmbedding(interop="none").run(whole, PassContext())
    return assemble(whole)


def _by_index(model: Model, missing: Mapping[str, str]) -> dict[str, Node]:
    """Nodes without a name: onnxruntime calls them ``Op_<place in the graph>``.

    A place that several graphs have is nobody's unless all are of one module; and if a single one does not hold, the
    places are those of another graph and none counts.
    """
    found: dict[str, Node] = {}
    for name, op_type in missing.items():
        base, _, index = name.rpartition("_")
        if not base or base != op_type or not index.isdecimal() or len(index) > 9:
            continue
        here = [
            graph.nodes[int(index)]
            for graph in model.graphs()
            if graph.kind != "function" and int(index) < len(graph.nodes)
        ]
        fitting = [node for node in here if node.op_type == op_type and not node.name]
        if not fitting:
            if int(index) < len(model.main.nodes):
                return {}
            continue
        if len({_path(node.attribution) for node in fitting}) == 1:
            found[name] = fitting[0]
    return found


def _version() -> str:
    from modelexport.passes.running.session import onnxruntime

    library: Any = onnxruntime("profile")
    return str(library.__version__)
