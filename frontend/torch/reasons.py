"""What an error of torch or of a model says, whole and in one line."""

from __future__ import annotations

import re

import torch

LIMIT = 1000  # characters; what torch says beyond is the graph, or advice to its developers
_CALL_CODE = torch.nn.Module._wrapped_call_impl.__code__
_WRAPPERS = ("torch.onnx", "onnx_ir", "onnxscript")

_COLOUR = re.compile(r"\x1b\[[0-9;]*m|\[9\d?m|\[0m")
_OBJECT = re.compile(r"<([\w.]+?)(?: object)? at 0x[0-9a-fA-F]+>")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_TENSOR = re.compile(r"tensor\(\s*[\[\d-][^()]*\)")
_NUMBERS = re.compile(r"^[\s\d.eE+,\[\]()-]*\d[\s\d.eE+,\[\]-]*$")
_NODE = re.compile(r"Error when (translating node .*?)\. See the stack", re.DOTALL)
_SHAPE = re.compile(r"^\[ torch\.\w+\{[\d,]*\} \]$")


def first_line(error: BaseException) -> str:
    """Class and message of an error, in one line: no object addresses, no tensors' elements, a readable length."""
    text = _TENSOR.sub("tensor(...)", _COLOUR.sub("", str(error)))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    kept = [line for at, line in enumerate(lines) if line and not (at and (_NUMBERS.match(line) or _SHAPE.match(line)))]
    line = _ADDRESS.sub("", _OBJECT.sub(r"\1", " ".join(kept)))
    if len(line) > LIMIT:
        line = f"{line[:LIMIT].rstrip()} [...]"
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def reason(error: BaseException, model: object = None) -> str:
    """The error below the wrappers of the exporters, which only say that a step failed; whether it is the model's."""
    inner, where = error, ""
    while inner.__cause__ is not None and type(inner).__module__.startswith(_WRAPPERS):
        at = _NODE.match(str(inner))
        where = f" ({' '.join(at[1].split())})" if at is not None else where
        inner = inner.__cause__
    told = first_line(inner) + where[:LIMIT]
    return f"{type(model).__name__}: forward failed: {told}" if model is not None and _called(inner, model) else told


def _called(error: BaseException, model: object) -> bool:
    """Whether the error was raised inside a call of ``model``."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is _CALL_CODE and trace.tb_frame.f_locals["self"] is model:
            return True
        trace = trace.tb_next
    return False
