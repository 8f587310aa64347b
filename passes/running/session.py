"""onnxruntime's sessions: options, opening, running. The only place that imports onnxruntime to run a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from google.protobuf.message import EncodeError

from modelexport.ir.arrays import Array
from modelexport.ir.errors import InputError, MissingExtraError
from modelexport.ir.text import shown

Optimization = Literal["disable", "basic", "extended", "all"]
OPTIMIZATIONS: tuple[str, ...] = get_args(Optimization)
CPU = "CPUExecutionProvider"
_LEVELS = dict(
    zip(OPTIMIZATIONS, ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"), strict=True)
)
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
_MOST_THREADS = 1024  # each takes a stack, and onnxruntime starts them all at once
_SILENT = 4  # severity of the log: fatal only
_KINDS = "Fail InvalidArgument NoSuchFile RuntimeException InvalidProtobuf NotImplemented InvalidGraph EPFail"
_SEQUENCE = "seq("


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What onnxruntime is asked for.

    Attributes:
        optimization: level of its graph optimisations.
        providers: execution providers, the preferred first; the CPU is added where it is missing.
        threads: threads inside an operator; 0 leaves it to onnxruntime.
        profile: prefix of the profile's file name, folder included; "" means none.
        optimized: file that the optimised model is written to; "" means none.
    """

    optimization: Optimization = "disable"
    providers: tuple[str, ...] = (CPU,)
    threads: int = 0
    profile: str = ""
    optimized: str = ""


def onnxruntime(what: str) -> Any:
    """The library. Raises MissingExtraError, whose message names ``what`` needs it."""
    try:
        import onnxruntime as library  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "ort", what) from error
    return library


def has_onnxruntime() -> bool:
    """Whether onnxruntime is installed; it is not imported."""
    from importlib.util import find_spec

    try:
        return find_spec("onnxruntime") is not None
    except ValueError:  # something without a specification stands in its place
        return False


@cache
def run_errors() -> tuple[type[BaseException], ...]:
    """What opening and running a session raise when the model or its inputs can't be run."""
    state = onnxruntime("running a model").capi.onnxruntime_pybind11_state
    kinds = [getattr(state, name) for name in _KINDS.split() if hasattr(state, name)]
    return (*kinds, RuntimeError, ValueError, TypeError, IndexError)


def reason(error: BaseException) -> str:
    """The first line of what onnxruntime says, without its prefix."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = lines[0]
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text[:300]


def check_providers(names: Sequence[str], what: str) -> None:
    """Raises InputError for an execution provider that the installed onnxruntime doesn't have."""
    available = onnxruntime(what).get_available_providers()
    for name in names:
        if name not in available:
            raise InputError(f"no execution provider {name!r}; there are: {', '.join(available)}")


def options(settings: SessionSettings, base_dir: Path | None = None) -> Any:
    """onnxruntime's SessionOptions for ``settings``; external data of a model in memory is found in ``base_dir``.

    Raises:
        InputError: there is no such level of optimisation, or there can't be as many threads.
    """
    library = onnxruntime("running a model")
    if settings.optimization not in _LEVELS:
        raise InputError(f"no optimisation level {settings.optimization!r}; there are: {', '.join(OPTIMIZATIONS)}")
    if not 0 <= settings.threads <= _MOST_THREADS:
        raise InputError(f"{settings.threads} threads: from 1 to {_MOST_THREADS}, or 0 to leave it to onnxruntime")
    made = library.SessionOptions()
    made.graph_optimization_level = getattr(library.GraphOptimizationLevel, _LEVELS[settings.optimization])
    made.log_severity_level = _SILENT
    made.intra_op_num_threads = settings.threads
    if settings.profile:
        made.enable_profiling = True
        made.profile_file_prefix = settings.profile
    if settings.optimized:
        made.optimized_model_filepath = settings.optimized
    if base_dir is not None:
        made.add_session_config_entry(_WEIGHTS_FOLDER, os.path.abspath(base_dir))
    return made


def open_session(
    model: onnx.ModelProto | bytes | Path, settings: SessionSettings, base_dir: Path | None = None, what: str = "model"
) -> Any:
    """An InferenceSession on a model in memory or in a file.

    Args:
        base_dir: folder that external data is relative to; that of the file for a file.
        what: what a message calls the model.

    Raises:
        InputError: onnxruntime can't load the model, or it is larger than one message of 2 GB.
        MissingExtraError: onnxruntime is not installed.
    """
    library = onnxruntime("running a model")
    if isinstance(model, Path):
        source: bytes | str = str(model)
        base_dir = None
    elif isinstance(model, bytes):
        source = model
    else:
        try:
            source = model.SerializeToString()
        except (EncodeError, ValueError) as error:
            raise InputError(
                f"{what}: larger than 2 GB, which can't be run; keep its weights as external data"
            ) from error
    providers = list(dict.fromkeys((*settings.providers, CPU)))
    try:
        return library.InferenceSession(source, sess_options=options(settings, base_dir), providers=providers)
    except run_errors() as error:
        raise InputError(f"{what}: onnxruntime can't load it: {reason(error)}") from error


def run(session: Any, feeds: Mapping[str, Any], what: str = "model") -> None:
    """Run once and drop the outputs. ``feeds`` are arrays or OrtValues, see ``as_ort_values``.

    Raises:
        InputError: the run failed; the message has onnxruntime's reason.
    """
    try:
        session.run_with_ort_values(None, {name: as_ort_value(value) for name, value in feeds.items()})
    except run_errors() as error:
        raise InputError(f"{what}: the run failed: {reason(error)}") from error


def as_ort_values(feeds: Mapping[str, Array], kinds: Mapping[str, int]) -> dict[str, Any]:
    """Arrays as onnxruntime takes them. ``kinds`` has the element type of each input; types that NumPy lacks come as
    their bits (bfloat16 as uint16).

    Raises:
        InputError: onnxruntime has no values of an array's type, such as complex ones.
    """
    library = onnxruntime("running a model")
    made: dict[str, Any] = {}
    for name, array in feeds.items():
        if kinds.get(name) == onnx.TensorProto.BFLOAT16:
            bits = np.ascontiguousarray(array).reshape(np.shape(array)).view(np.uint16)
            made[name] = library.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, onnx.TensorProto.BFLOAT16)
            continue
        try:
            made[name] = as_ort_value(array)
        except run_errors() as error:
            raise InputError(f"input {shown(name)!r}: onnxruntime takes no values of {array.dtype}") from error
    return made


def as_ort_value(array: Any) -> Any:
    """An array, also one of strings, as an OrtValue; an OrtValue stays one."""
    if hasattr(array, "has_value"):
        return array
    library = onnxruntime("running a model")
    array = np.ascontiguousarray(array).reshape(np.shape(array))
    if array.dtype.kind not in "OUS":
        return library.OrtValue.ortvalue_from_numpy(array)
    # onnxruntime takes no strings from NumPy, but gives them out
    tensor = onnx.TensorProto(data_type=onnx.TensorProto.STRING, dims=array.shape)
    tensor.string_data.extend(each if isinstance(each, bytes) else str(each).encode() for each in array.reshape(-1))
    graph = onnx.GraphProto(name="strings", node=[onnx.helper.make_node("Constant", [], ["y"], value=tensor)])
    graph.output.append(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.STRING, array.shape))
    proto = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)])
    return open_session(proto, SessionSettings()).run_with_ort_values(["y"], {})[0]


def value_info(name: str, value: Any) -> onnx.ValueInfoProto:
    """The description of an OrtValue as a graph input."""
    kind: str = value.data_type()
    if kind.startswith(_SEQUENCE):
        element = onnx.helper.make_tensor_type_proto(element_type(kind[len(_SEQUENCE) : -1]), None)
        return onnx.helper.make_value_info(name, onnx.helper.make_sequence_type_proto(element))
    return onnx.helper.make_tensor_value_info(name, element_type(kind), list(value.shape()))


def element_type(kind: str) -> int:
    """``tensor(int64)`` or ``int64`` as the number of the element type; 0 for one that ONNX does not have."""
    inner = kind.removeprefix("tensor(").removesuffix(")").upper()
    known = dict(onnx.TensorProto.DataType.items())
    return int(known.get(inner, 0))
