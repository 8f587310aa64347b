"""Export through torch's TorchScript exporter, with the module path of every node it knows a scope of."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import onnx
import torch

from modelexport.frontend.export.doc_strings import without_own_frames
from modelexport.frontend.export.exported import Exported
from modelexport.frontend.export.weights import can_capture, captured_parameters, inputs_to_initializers, lifted
from modelexport.frontend.inputs.binding import for_torchscript
from modelexport.frontend.inputs.example_inputs import Inputs, tensors_of
from modelexport.frontend.inputs.remedies import remedy
from modelexport.frontend.torch.calls import TORCH_LOCK
from modelexport.frontend.torch.reasons import reason
from modelexport.frontend.torch.scopes import MAP_HOOK, NAME_HOOK, ScopeCapture
from modelexport.frontend.torch.state import (
    kept_model,
    kept_torch_state,
    quiet_stdout,
    rare_collection,
)
from modelexport.frontend.trace.naming import ModuleNames, scripted_modules
from modelexport.ir.errors import ExportError


def export_torchscript(
    model: torch.nn.Module, inputs: Inputs, options: Mapping[str, Any], *, scopes: bool = True
) -> Exported:
    """Run ``torch.onnx.export(dynamo=False)`` in memory, weights apart.

    Args:
        options: further arguments for torch.onnx.export.
        scopes: stand in the exporter to read its scopes.

    Raises:
        ExportError: torch failed; its error is the cause, what it printed is in the debug log.
    """
    names_of_modules = ModuleNames(model)
    capture = ScopeCapture(names_of_modules)
    sink = _Sink()
    given = for_torchscript(inputs, options)
    wants_weights = bool(given.get("export_params", True))
    keep = bool(given.get("keep_initializers_as_inputs")) or keeps_inputs(given.get("opset_version"))
    apart = wants_weights and can_capture() and not keep  # torch lists others then, and in another order
    parameters: dict[str, torch.Tensor] = {}
    with TORCH_LOCK, ExitStack() as stack:
        stack.enter_context(kept_model(model))
        stack.enter_context(kept_torch_state())
        stack.enter_context(rare_collection())
        args = _positional(model, inputs)
        if apart:
            given["export_params"] = False
            parameters = stack.enter_context(captured_parameters())
        if scopes:
            stack.enter_context(capture.installed())
        stack.enter_context(_without_legacy_warning())
        try:
            with quiet_stdout():
                torch.onnx.export(model, args, sink, dynamo=False, **given)  # type: ignore[arg-type]
        except Exception as error:  # torch and user code may raise anything; it is chained and told
            told = reason(error, model)
            raise ExportError(f"the TorchScript exporter failed: {told}{remedy(model, inputs, told, given)}") from error
    proto = onnx.ModelProto.FromString(sink.take())
    found = inputs_to_initializers(proto, parameters) if apart else lifted(proto) if wants_weights else {}
    if given.get("verbose"):
        without_own_frames(proto)
    scripted = scripted_modules(names_of_modules)
    exported = Exported(
        "torchscript",
        proto,
        capture.paths,
        found,
        called=scripted,
        watched=not scripted,
        functions=capture.functions,
        scripts=capture.closed,
    )
    if scopes and capture.missing:
        lost = "scopes" if {MAP_HOOK, NAME_HOOK} & {*capture.missing} else "scopes of script functions"
        exported.warnings.append(
            f"torch {torch.__version__} has no {' and no '.join(capture.missing)}: tags come from node names and the "
            f"module table where the exporter's {lost} would tell"
        )
    return exported


def keeps_inputs(opset: int | None) -> bool:
    """Whether torch lists weights as inputs whatever was asked: before opset 9 ONNX knows no others."""
    return opset is not None and opset < 9


class _Sink(io.RawIOBase):
    """Takes the one block of bytes that torch writes, without copying it."""

    def __init__(self) -> None:
        self.data: Any = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data = data if not self.data else bytes(self.data) + bytes(data)
        return len(data)

    def take(self) -> bytes:
        data, self.data = self.data, b""
        return data if isinstance(data, bytes) else bytes(data)


def _positional(model: torch.nn.Module, inputs: Inputs) -> tuple[Any, ...]:
    """Arguments as TorchScript takes them, by position only.

    torch flattens keyword arguments by guessing positions. Where there are any, the instance gets a forward that takes
    the tensors in order and passes them on by name; what is no tensor is bound. The caller puts ``forward`` back.
    """
    if not inputs.kwargs:
        args = inputs.args
        return (*args, {}) if args and isinstance(args[-1], dict) else args
    names = [name for name, value in inputs.kwargs.items() if any(True for _ in tensors_of(value))]
    fixed = {name: value for name, value in inputs.kwargs.items() if name not in names}
    leading = len(inputs.args)
    original: Callable[..., Any] = model.forward

    def forward(*args: Any) -> Any:
        return original(*args[:leading], **dict(zip(names, args[leading:], strict=True)), **fixed)

    model.__dict__["forward"] = forward
    args = (*inputs.args, *(_plain(inputs.kwargs[name]) for name in names))
    return (*args, {}) if args and isinstance(args[-1], dict) else args


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


@contextmanager
def _without_legacy_warning() -> Iterator[None]:
    """Silence torch's advice to use its other exporter: which one runs was chosen on purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.onnx|modelexport\.frontend")
        yield
