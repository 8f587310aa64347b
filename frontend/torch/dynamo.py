"""Export through torch's dynamo exporter, which writes the module scopes into the nodes' metadata itself."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import onnx
import torch

from modelexport.frontend.export.exported import Exported
from modelexport.frontend.export.weights import taken_out
from modelexport.frontend.inputs.binding import for_dynamo
from modelexport.frontend.inputs.example_inputs import Inputs
from modelexport.frontend.inputs.remedies import remedy
from modelexport.frontend.torch.calls import TORCH_LOCK
from modelexport.frontend.torch.conversion import convert
from modelexport.frontend.torch.fx_marks import FxMarks, take_marks
from modelexport.frontend.torch.reasons import reason
from modelexport.frontend.torch.state import (
    in_training,
    kept_model,
    kept_torch_state,
    quiet_stdout,
    rare_collection,
)
from modelexport.frontend.trace.naming import ModuleNames, scripted_modules
from modelexport.ir.errors import ExportError
from modelexport.ir.io.embedded_tags import NAME_SCOPES
from modelexport.ir.modules.module import is_path

_OF_SEQUENCE = re.compile(r"_split_\d+$")
FIRST_OPSET = 18  # below it torch converts, drops all metadata, or silently returns 18


def export_dynamo(
    model: torch.nn.Module,
    inputs: Inputs,
    options: Mapping[str, Any],
    opset: int | None = None,
    *,
    strict_opset: bool = True,
) -> Exported:
    """Run ``torch.onnx.export(dynamo=True)`` in memory, weights apart.

    Args:
        options: further arguments for torch.onnx.export.
        opset: the opset asked for; below 18 the export is converted.
        strict_opset: raise when ``opset`` can't be reached, instead of staying where torch does with a warning.

    Raises:
        ExportError: torch failed; its error is the cause.
    """
    inputs, given = for_dynamo(model, inputs, options)
    keep_inputs, wants_weights = given.pop("keep_initializers_as_inputs", False), given.pop("export_params", True)
    given.setdefault("verbose", False)
    if opset is not None:
        given["opset_version"] = max(opset, FIRST_OPSET)
    names = ModuleNames(model)
    marks = FxMarks(names)
    program = _program(model, inputs, given, marks)
    if keep_inputs:
        program.model.graph.inputs.extend(program.model.graph.initializers.values())
    if not wants_weights:
        program.model.graph.initializers.clear()
    weights = taken_out(program.model)
    proto = program.model_proto
    paths = {**unrecorded_paths(proto, program.exported_program), **take_marks(proto)}
    exported = Exported("dynamo", proto, paths, weights, called=tuple(marks.called), scripts=scripted_modules(names))
    if in_training(model):
        exported.warnings.append("the model was exported in training mode; model.eval() before gives it for inference")
    if opset is not None and opset > exported.opset_version:
        told = f"opset_version={opset} is more than this torch writes: the model is in {exported.opset_version}"
        if strict_opset:
            raise ExportError(f"{told}; ask for that, or leave opset_version out")
        exported.warnings.append(told)
    elif opset is not None and opset < exported.opset_version:
        try:
            exported.proto = convert(exported.proto, opset)
            exported.warnings.append(
                f"the dynamo exporter starts at opset {FIRST_OPSET}: exported at {FIRST_OPSET} and converted to {opset}"
            )
        except ExportError as error:
            if strict_opset:
                raise ExportError(f"opset_version={opset} with the dynamo exporter: {error}") from error
            reached = exported.opset_version
            exported.warnings.append(f"opset_version={opset} was asked for, the model is in {reached}: {error}")
    return exported


def unrecorded_paths(proto: onnx.ModelProto, program: Any) -> dict[str, str]:
    """Module path by output, for nodes that torch's rewrites left without a record: ONNX values are named after the
    nodes of the exported program (a Split that was a sequence: ``<node>_split_<i>``), which still know their module."""
    bare = [node for node in proto.graph.node if not any(entry.key == NAME_SCOPES for entry in node.metadata_props)]
    if not bare or program is None:
        return {}
    stacks = {node.name: node.meta.get("nn_module_stack") for node in program.graph.nodes}
    found: dict[str, str] = {}
    for node in bare:
        for output in node.output:
            stack = stacks.get(output) or stacks.get(_OF_SEQUENCE.sub("", output))
            path = str(list(stack.values())[-1][0]) if stack else None
            if path is not None and (not path or is_path(path)):
                found[output] = path
    return found


def _program(model: torch.nn.Module, inputs: Inputs, given: dict[str, Any], marks: FxMarks) -> Any:
    with TORCH_LOCK, ExitStack() as stack:
        stack.enter_context(kept_model(model))
        stack.enter_context(kept_torch_state())
        stack.enter_context(rare_collection())
        stack.enter_context(_quiet_about_choices())
        stack.enter_context(marks.installed())
        args = inputs.args
        if args and isinstance(args[-1], dict) and not inputs.kwargs:
            args = (*args, {})  # torch takes a dict at the end for keyword arguments
        try:
            with quiet_stdout():
                return torch.onnx.export(model, args, kwargs=inputs.kwargs or None, dynamo=True, **given)
        except Exception as error:  # torch and user code may raise anything; it is chained and told
            told = reason(error, model)
            raise ExportError(f"the dynamo exporter failed: {told}{remedy(model, inputs, told, given)}") from error


@contextmanager
def _quiet_about_choices() -> Iterator[None]:
    """Silence torch's remarks on itself, and on what was chosen on purpose: dynamic_axes, operators of packages that
    are not there."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*dynamic_axes.* is not recommended")
            warnings.filterwarnings("ignore", message=".*while it is in training mode")  # the result says so
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)
            yield
    finally:
        registration.setLevel(level)
