"""What an export tells its monitor: the eight steps, and the data that is known after each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any, TypeAlias, TypedDict

from modelexport.frontend.monitor.settled import settled
from modelexport.frontend.monitor.spelling import brief, spelled
from modelexport.ir.errors import InputError


class HTPExportStep(StrEnum):
    """The steps of an export, in order. Name and value are the same word."""

    MODEL_PREP = "MODEL_PREP"
    INPUT_GEN = "INPUT_GEN"
    HIERARCHY = "HIERARCHY"
    TRACE = "TRACE"
    EXPORT = "EXPORT"
    NODE_TAGGING = "NODE_TAGGING"
    SAVE = "SAVE"
    COMPLETE = "COMPLETE"

    @property
    def number(self) -> int:
        """Position of the step, from 1."""
        return _NUMBERS[self]

    @property
    def label(self) -> str:
        """What happens in the step, in words."""
        return _LABELS[self]


_LABELS: dict[HTPExportStep, str] = {
    HTPExportStep.MODEL_PREP: "Model loading and preparation",
    HTPExportStep.INPUT_GEN: "Input tensor generation",
    HTPExportStep.HIERARCHY: "Module hierarchy extraction",
    HTPExportStep.TRACE: "PyTorch tracing",
    HTPExportStep.EXPORT: "ONNX export",
    HTPExportStep.NODE_TAGGING: "Tagging ONNX nodes with hierarchy",
    HTPExportStep.SAVE: "Saving final ONNX model",
    HTPExportStep.COMPLETE: "Export completion",
}
_NUMBERS: dict[HTPExportStep, int] = {step: number for number, step in enumerate(HTPExportStep, start=1)}


def step_of(step: HTPExportStep | str) -> HTPExportStep:
    """The step that ``step`` names, in either case. Raises InputError when there is none."""
    try:
        return HTPExportStep(step.upper())
    except (ValueError, AttributeError):
        raise InputError(f"{step!r} is not an export step; the steps are {', '.join(HTPExportStep)}") from None


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """One module of the exported model.

    Attributes:
        path: dotted path as ``named_modules()`` spells it; ``""`` is the root.
        class_name: bare class name, or ``""`` where it is not known.
        tag: readable class path.
        execution_order: position of its first call, from 0; -1 for a module that is never called.
        parameters: number of scalar parameters it owns itself, not its children's.
        calls: how often it was called; 0 for a container such as ModuleList.
    """

    path: str
    class_name: str = ""
    tag: str = ""
    execution_order: int = 0
    parameters: int = 0
    calls: int = 1


class NodeInfo(TypedDict):
    """Where one node is from. All but the tag are None where only ``tagged_nodes`` was given."""

    tag: str | None
    path: str | None
    source: str | None
    confidence: float | None


class Tags(Mapping[str, str]):
    """Tag by node key, read from node records: nothing is copied."""

    def __init__(self, nodes: Mapping[str, NodeInfo]) -> None:
        self.nodes = nodes

    def __getitem__(self, key: str) -> str:
        tag = self.nodes[key]["tag"]
        if tag is None:
            raise KeyError(key)
        return tag

    def __iter__(self) -> Iterator[str]:
        return (key for key, record in self.nodes.items() if record["tag"] is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass
class HTPExportData:
    """Everything that is known about an export. Each step adds its part; what is not known yet has its default.

    The mappings of nodes are kept by reference and may be lazy: the monitor only iterates over them and never changes
    them. Step-specific data is kept in Python's own containers, whatever class it came in.

    Attributes:
        hierarchy: the modules by path.
        execution_steps: number of module calls in one forward.
        total_nodes: nodes of the file at every depth (main graph, bodies, local functions).
        tagged_nodes: tag by node key.
        tagging_stats: number of nodes by source of their tag.
        coverage: tagged share of the nodes, 0..1.
        export_time: seconds.
        steps: step-specific data by step name.
        nodes: where each node is from, by node key.
    """

    model_name: str = ""
    model_class: str = ""
    total_modules: int = 0
    total_parameters: int = 0
    output_path: str = ""
    embed_hierarchy_attributes: bool = True
    hierarchy: Mapping[str, ModuleInfo] = field(default_factory=dict)
    execution_steps: int = 0
    total_nodes: int = 0
    tagged_nodes: Mapping[str, str] = field(default_factory=dict)
    tagging_stats: Mapping[str, int] = field(default_factory=dict)
    coverage: float = 0.0
    export_time: float = 0.0
    steps: Mapping[str, Any] = field(default_factory=dict)
    nodes: Mapping[str, NodeInfo] = field(default_factory=dict)

    def details(self, step: HTPExportStep) -> Mapping[str, Any]:
        """Step-specific data of one step; empty where there is none."""
        found = self.steps.get(step.value)
        return found if isinstance(found, Mapping) else {}


StepData: TypeAlias = HTPExportData | Mapping[str, Any] | None

_FIELDS: dict[str, Any] = {entry.name: entry for entry in fields(HTPExportData)}
_DEFAULTS = HTPExportData()
_TEXTS = frozenset({"model_name", "model_class", "output_path"})
_NUMERIC = frozenset({"coverage", "export_time"})
_COUNTS = frozenset({"total_modules", "total_parameters", "execution_steps", "total_nodes"})
_MODULE_FIELDS = {entry.name: str if entry.type == "str" else int for entry in fields(ModuleInfo)}
_MOST = 2**53  # more parameters than that no module has, and their sums fit in 64 bits
_MAPPINGS = frozenset({"hierarchy", "tagged_nodes", "tagging_stats", "steps", "nodes"})


def merge(known: HTPExportData, step: HTPExportStep, given: StepData, extra: Mapping[str, Any]) -> None:
    """Add what a step brought to what is known.

    Of an HTPExportData the fields that differ from their defaults are taken; of a mapping and of keywords all entries.
    An entry that is no field of HTPExportData is step-specific data of ``step``. A field that is None is not known yet.
    Raises InputError for data of another kind, for a field whose value has the wrong type, and for data that can't be
    read; nothing is merged then.
    """
    try:
        news = {**_news(step, given), **extra}
        own = {spelled(name): settled(value) for name, value in news.items() if name not in _FIELDS}
        given_fields = {name: value for name, value in news.items() if name in _FIELDS and value is not None}
        taken = {name: _checked(step, name, value) for name, value in given_fields.items()}
        _check_total(step, known, taken)
    except InputError:
        raise
    except Exception as error:  # any class may be in it
        raise InputError(f"data of {step} can't be read: {type(error).__name__}: {brief(error)}") from error
    steps = dict(known.steps)
    for name, value in taken.pop("steps", {}).items():
        key = str(name).upper() if str(name).upper() in HTPExportStep.__members__ else str(name)
        both_maps = isinstance(value, Mapping) and isinstance(steps.get(key), Mapping)
        steps[key] = {**steps[key], **value} if both_maps else value
    if own:
        steps[step.value] = {**known_details(steps, step), **own}
    known.steps = steps
    for name, value in taken.items():
        setattr(known, name, value)


def _news(step: HTPExportStep, given: StepData) -> Mapping[str, Any]:
    if isinstance(given, HTPExportData):
        return {name: value for name in _FIELDS if (value := getattr(given, name)) != getattr(_DEFAULTS, name)}
    if given is not None and not isinstance(given, Mapping):
        raise InputError(f"data of {step} is a {type(given).__name__}; give an HTPExportData, a mapping or keywords")
    return {} if given is None else given


def _check_total(step: HTPExportStep, known: HTPExportData, news: Mapping[str, Any]) -> None:
    """A number of nodes that was given is believed, so it can't be below the nodes that are named."""
    total = news.get("total_nodes", known.total_nodes)
    named = max(len(news.get(name, getattr(known, name))) for name in ("nodes", "tagged_nodes"))
    if 0 < total < named:
        raise InputError(f"total_nodes of {step} is {total}, and {named} nodes are named")


def known_details(steps: Mapping[str, Any], step: HTPExportStep) -> Mapping[str, Any]:
    """Step-specific data of ``step``; a value that is no mapping is kept under ``value``."""
    found = steps.get(step.value, {})
    return found if isinstance(found, Mapping) else {"value": found}


def _checked(step: HTPExportStep, name: str, value: Any) -> Any:
    if name in _TEXTS:
        if isinstance(value, str | PurePath):
            return str.__str__(value) if isinstance(value, str) else str(value)
        wanted = "a text"
    elif name in _COUNTS:
        if isinstance(value, Integral) and 0 <= int(value) <= _MOST:
            return int(value)
        wanted = "a count"
    elif name in _NUMERIC:
        if isinstance(value, Real) and (name != "coverage" or 0 <= float(value) <= 1):
            return float(value)
        wanted = "a share from 0 to 1" if name == "coverage" else "a number of seconds"
    elif name in _MAPPINGS:
        if isinstance(value, Mapping):
            check = {"hierarchy": _modules, "tagging_stats": _statistics, "steps": _steps}.get(name, _records)
            try:
                return check(step, value)
            except InputError:
                raise
            except Exception as error:  # any class may say that it is a mapping
                raise InputError(f"{name} of {step} is a {type(value).__name__} that can't be read") from error
        wanted = "a mapping"
    elif isinstance(value, bool):
        return value
    else:
        wanted = "true or false"
    raise InputError(f"{name} of {step} is {brief(value)}; it has to be {wanted}")


def _steps(step: HTPExportStep, steps: Mapping[str, Any]) -> Mapping[str, Any]:
    return {spelled(name): settled(value) for name, value in steps.items()}


def _records(step: HTPExportStep, records: Mapping[str, Any]) -> Mapping[str, Any]:
    """``records``, which may be lazy: they are walked once, to see that they can be."""
    if type(records) not in (dict, Tags):
        for _entry in zip(records, records.items(), strict=True):
            pass
        len(records)
    return records


def _statistics(step: HTPExportStep, counts: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, count in counts.items():
        if not isinstance(count, Real) or (isinstance(count, Integral) and not 0 <= int(count) <= _MOST):
            raise InputError(f"tagging_stats of {step}: {name!r} is {brief(count)}; it has to be a number")
    return {str(name): int(count) if isinstance(count, Integral) else float(count) for name, count in counts.items()}


def _modules(step: HTPExportStep, hierarchy: Mapping[str, Any]) -> Mapping[str, ModuleInfo]:
    plain = type(hierarchy) is dict and all(type(path) is str for path in hierarchy)
    if plain and all(type(entry) is ModuleInfo and _is_plain(entry) for entry in hierarchy.values()):
        return hierarchy
    return {str(path): _module(step, str(path), entry) for path, entry in hierarchy.items()}


def _is_plain(info: ModuleInfo) -> bool:
    texts = type(info.path) is str and type(info.class_name) is str and type(info.tag) is str
    counts = type(info.execution_order) is int and type(info.parameters) is int and type(info.calls) is int
    return texts and counts and info.parameters <= _MOST


def _module(step: HTPExportStep, path: str, entry: Any) -> ModuleInfo:
    """``entry`` with every field of the type it has to be; one that is None has its default."""
    if isinstance(entry, ModuleInfo):
        given: dict[str, Any] = {one.name: getattr(entry, one.name) for one in fields(ModuleInfo)}
    elif isinstance(entry, Mapping):
        given = {str(name): value for name, value in entry.items()}
    else:
        raise InputError(f"hierarchy of {step}: {path!r} is {brief(entry)}; it has to be a ModuleInfo or a mapping")
    values: dict[str, Any] = {"path": path}
    for name, value in given.items():
        if value is None:
            continue
        if name not in _MODULE_FIELDS:
            raise InputError(
                f"hierarchy of {step}: {path!r} has {name!r}; a ModuleInfo has {', '.join(_MODULE_FIELDS)}"
            )
        if _MODULE_FIELDS[name] is str and isinstance(value, str):
            values[name] = str(value)
        elif _MODULE_FIELDS[name] is int and isinstance(value, Integral) and int(value) <= _MOST:
            values[name] = int(value)
        else:
            wanted = "a text" if _MODULE_FIELDS[name] is str else "a count"
            raise InputError(f"hierarchy of {step}: {name} of {path!r} is {brief(value)}; it has to be {wanted}")
    return ModuleInfo(**values)
