"""Arguments of torch.onnx.export: which exporter they ask for, which ones it would ignore, and what contradicts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from modelexport.frontend.export.exported import ExporterName
from modelexport.frontend.torch.torch_internals import default_is_dynamo, export_parameters
from modelexport.ir.errors import ConfigError, nearest
from modelexport.ir.limits import memory_limit_mb

ExporterChoice = Literal["auto", "torchscript", "dynamo"]
LAST_TORCHSCRIPT_CHOICE = 17  # up to this opset "auto" prefers TorchScript, which reaches every one
OURS = frozenset({"model", "f", "args", "fallback"})

# What an exporter accepts and silently ignores, with the value that means "not asked for".
_ONLY_TORCHSCRIPT: dict[str, Any] = {
    "do_constant_folding": True,
    "training": torch.onnx.TrainingMode.EVAL,
    "export_modules_as_functions": False,
    "custom_opsets": None,
    "autograd_inlining": True,
    "operator_export_type": torch.onnx.OperatorExportTypes.ONNX,
    "export_params": True,
}
_IGNORED_BY_DYNAMO = {name: neutral for name, neutral in _ONLY_TORCHSCRIPT.items() if name != "export_params"}
_ONLY_DYNAMO: dict[str, Any] = {
    "dynamic_shapes": None,
    "custom_translation_table": None,
    "report": False,
    "optimize": True,
    "verify": False,
    "profile": False,
    "dump_exported_program": False,
    "artifacts_dir": ".",
}


def training_mode(name: str) -> torch.onnx.TrainingMode:
    """The mode that a configuration file spells ``EVAL``, ``PRESERVE`` or ``TRAINING``. Raises ConfigError."""
    modes: Mapping[str, torch.onnx.TrainingMode] = torch.onnx.TrainingMode.__members__
    if name not in modes:
        raise ConfigError(f"training is EVAL, PRESERVE or TRAINING, not {name!r}")
    return modes[name]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What was asked of torch.

    Attributes:
        torch: arguments for torch.onnx.export, without those that are ours to decide.
        keywords: the model's keyword arguments that came as ``kwargs=``.
        opset_version: the opset asked for, or None.
        external_data: True when the weights were asked to go to a file of their own.
        order: exporters to try, best first.
        warnings: what a user should know before anything ran.
    """

    torch: dict[str, Any]
    keywords: dict[str, Any]
    opset_version: int | None
    external_data: bool
    order: tuple[ExporterName, ...]
    warnings: list[str] = field(default_factory=list)

    def ignored_by(self, exporter: ExporterName) -> list[str]:
        """One warning for each argument that ``exporter`` would silently ignore."""
        table = _IGNORED_BY_DYNAMO if exporter == "dynamo" else _ONLY_DYNAMO
        return [f"{name} has no effect with the {exporter} exporter" for name in _given(self.torch, table)]

    def for_torchscript(self) -> dict[str, Any]:
        """Arguments that TorchScript acts on.

        Raises:
            ConfigError: an axis below 0, which torch's exporter takes for an address: it ends the process.
        """
        for name, axes in (self.torch.get("dynamic_axes") or {}).items():
            if any(axis < 0 for axis in axes or ()):
                raise ConfigError(f"dynamic_axes[{name!r}]={axes!r}: the TorchScript exporter counts axes from 0")
        given = {name: value for name, value in self.torch.items() if name not in _ONLY_DYNAMO}
        return given if self.opset_version is None else {**given, "opset_version": self.opset_version}

    def for_dynamo(self) -> dict[str, Any]:
        """Arguments that dynamo acts on, without the opset."""
        return {name: value for name, value in self.torch.items() if name not in _IGNORED_BY_DYNAMO}


def read_options(exporter: ExporterChoice, kwargs: Mapping[str, Any]) -> ExportOptions:
    """Sort the arguments out.

    Raises:
        ConfigError: an argument that is unknown or not the caller's to give, or arguments that contradict each other.
    """
    given = dict(kwargs)
    _refuse_unknown(given)
    wanted = given.pop("dynamo", None)
    if wanted is not None:
        asked: ExporterName = "dynamo" if wanted else "torchscript"
        if exporter not in ("auto", asked):
            raise ConfigError(f"dynamo={wanted} contradicts exporter={exporter!r}")
        exporter = asked
    opset = given.pop("opset_version", None)
    if opset is not None and (isinstance(opset, bool) or not isinstance(opset, int) or opset < 1):
        raise ConfigError(f"opset_version={opset!r} is not an opset: give a whole number from 1 on")
    if "dynamic_axes" in given:
        given["dynamic_axes"] = _axes(given["dynamic_axes"])
    keywords = given.pop("kwargs", None) or {}
    external = bool(given.pop("external_data", False))
    for name in ("input_names", "output_names"):
        names = given.get(name)
        if names is not None:
            if isinstance(names, str) or not all(isinstance(each, str) for each in names):
                raise ConfigError(f"{name}={names!r} is not a list of names")
            given[name] = list(names)
    order = _order(exporter, given, opset)
    warnings: list[str] = []
    if given.get("dynamic_shapes") is not None and given.get("dynamic_axes"):
        names = ("dynamic_shapes", "dynamic_axes")
        used, unused = names if order[0] == "dynamo" else names[::-1]
        warnings.append(f"{unused} has no effect beside {used}: leave it out")
        del given[unused]
    return ExportOptions(given, dict(keywords), opset, external, order, warnings)


def _order(exporter: ExporterChoice, given: Mapping[str, Any], opset: int | None) -> tuple[ExporterName, ...]:
    torchscript_only = _given(given, _ONLY_TORCHSCRIPT)
    shapes = bool(given.get("dynamic_shapes"))
    if exporter == "torchscript":
        if shapes:
            raise ConfigError("dynamic_shapes contradicts exporter='torchscript': give dynamic_axes")
        return ("torchscript",)
    if exporter == "dynamo":
        if "export_params" in torchscript_only and not given.get("keep_initializers_as_inputs"):
            raise ConfigError(
                "export_params=False contradicts exporter='dynamo', which would drop the weights' inputs too: give "
                "keep_initializers_as_inputs=True as well"
            )
        return ("dynamo",)
    if shapes:
        if torchscript_only:
            raise ConfigError(f"dynamic_shapes needs the dynamo exporter, {torchscript_only[0]} the TorchScript one")
        return ("dynamo",)
    if torchscript_only:
        only_dynamo = _given(given, _ONLY_DYNAMO)
        if only_dynamo:
            raise ConfigError(f"{only_dynamo[0]} needs the dynamo exporter, {torchscript_only[0]} the TorchScript one")
        # dynamo would lose what was asked for, so it is no way out unless the argument only tunes the graph
        return ("torchscript", "dynamo") if set(torchscript_only) <= {"do_constant_folding"} else ("torchscript",)
    if opset is not None and opset <= LAST_TORCHSCRIPT_CHOICE:
        return ("torchscript", "dynamo")
    return ("dynamo", "torchscript") if default_is_dynamo() else ("torchscript", "dynamo")


def _given(given: Mapping[str, Any], table: Mapping[str, Any]) -> list[str]:
    """Names of ``table`` that were given another value than the one that means "not asked for"."""
    return [name for name, neutral in table.items() if name in given and given[name] not in (neutral, None)]


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    known = export_parameters()
    for name in given:
        if name in OURS:
            raise ConfigError(f"{name} is not an argument of export: the exporter gives it to torch itself")
        if name not in known and name != "external_data":
            close = nearest(name, known)
            hint = f"; did you mean {close}?" if close else ""
            raise ConfigError(f"torch.onnx.export of torch {torch.__version__} has no argument {name!r}{hint}")


def _axes(axes: Any) -> Any:
    """dynamic_axes with axis numbers as int: JSON has no other keys than strings."""
    if axes is None:
        return None
    if not isinstance(axes, Mapping):
        raise ConfigError(f"dynamic_axes={axes!r} is not a mapping of input or output names")
    result: dict[str, Any] = {}
    for name, entry in axes.items():
        if isinstance(entry, Mapping):
            try:
                result[name] = {int(axis): label for axis, label in entry.items()}
            except (TypeError, ValueError):
                raise ConfigError(f"dynamic_axes[{name!r}]={dict(entry)!r}: an axis is a whole number") from None
        elif isinstance(entry, Sequence) and all(isinstance(axis, int) for axis in entry):
            result[name] = list(entry)
        elif entry is not None:
            raise ConfigError(
                f"dynamic_axes[{name!r}]={entry!r} is neither a list of axes nor a mapping from axis to name"
            )
    return result


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment variables of an export.

    Attributes:
        auxiliary_debug: log the decision for every auxiliary node (MODELEXPORT_AUX_OPS_DEBUG).
        memory_limit_mb: resident memory bound (MODELEXPORT_MEMORY_LIMIT_MB), or None.
        profiling: as enable_performance_monitoring (MODELEXPORT_ENABLE_PROFILING).
    """

    auxiliary_debug: bool = False
    memory_limit_mb: int | None = None
    profiling: bool = False


def read_environment() -> Environment:
    """Raises ConfigError for a value that can't be used."""
    return Environment(_flag("MODELEXPORT_AUX_OPS_DEBUG"), memory_limit_mb(), _flag("MODELEXPORT_ENABLE_PROFILING"))


def _flag(name: str) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise ConfigError(f"{name}={value!r} is neither 1 nor 0")
