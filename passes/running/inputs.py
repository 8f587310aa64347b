"""Inputs for a run: arrays from a file, or made from the shapes that the model states."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from tokenize import TokenError

import numpy as np
import onnx

from modelexport.ir.arrays import Array
from modelexport.ir.errors import InputError
from modelexport.ir.identity.file_kinds import told
from modelexport.ir.model import Model
from modelexport.ir.text import shown, text

_BFLOAT16 = onnx.TensorProto.BFLOAT16
# what numpy and zipfile raise on an archive that is not as it should be; the last two come from array headers
_DAMAGE = (ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, SyntaxError, TokenError)


@dataclass(frozen=True, slots=True)
class InputInfo:
    """One input that a caller has to give.

    Attributes:
        elem_type: ONNX's number of the element type; 0 where the input is no tensor or has none.
        dims: sizes, names of free dimensions, or None; None as a whole where the rank is not known.
    """

    name: str
    elem_type: int
    dims: tuple[int | str | None, ...] | None


def model_inputs(model: Model) -> list[InputInfo]:
    """The inputs of the main graph without those that an initializer gives a value, in file order."""
    proto = model.main.proto
    assert isinstance(proto, onnx.GraphProto)
    weights = model.main.initializers_set
    found = zip(model.main.inputs, proto.input, strict=True)
    return [_info(name, value) for name, value in found if name not in weights]


def _info(name: str, value: onnx.ValueInfoProto) -> InputInfo:
    if not value.type.HasField("tensor_type"):
        return InputInfo(name, 0, None)
    kind = value.type.tensor_type
    dims: tuple[int | str | None, ...] | None = None
    if kind.HasField("shape"):
        dims = tuple(
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else text(dim.dim_param) or None
            for dim in kind.shape.dim
        )
    return InputInfo(name, kind.elem_type, dims)


def read_npz(path: str | PathLike[str]) -> dict[str, Array]:
    """The arrays of an npz file by name. Pickled ones are refused.

    Raises:
        InputError: the file can't be read or has pickled arrays.
    """
    label = shown(str(path))
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise InputError(f"{label}: not an npz file: save arrays by input name with numpy.savez")
        with loaded:
            return {name: np.asarray(loaded[name]) for name in loaded.files}
    except OSError as error:
        raise InputError(f"{label}: {error.strerror or error}") from error
    except (*_DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        pickled = "allow_pickle" in str(error) and zipfile.is_zipfile(path)  # numpy takes any other file for a pickle
        said = "holds pickled objects, which are never read" if pickled else f"not an npz file{told(path)}"
        raise InputError(f"{label}: {said}") from error


def resolved_shapes(
    model: Model, arrays: Mapping[str, Array] | None = None, shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, tuple[int, ...]]:
    """The shape of every input: that of the given array, the given shape, else the model's with 1 for what is free.

    A named dimension that a given array or shape fixes has that size in the other inputs too. Inputs of unknown rank
    that nothing is given for are left out.

    Raises:
        InputError: a name that is no input, or an array or shape that does not fit the input.
    """
    inputs = {info.name: info for info in model_inputs(model)}
    given: dict[str, tuple[int, ...]] = {}
    for names in (shapes or {}, arrays or {}):
        for name in names:
            if name not in inputs:
                raise InputError(f"no input {shown(name)!r}; inputs: {', '.join(map(shown, inputs)) or 'none'}")
    for name, shape in (shapes or {}).items():
        given[name] = tuple(int(size) for size in shape)
        if not all(0 <= size < 2**63 for size in given[name]):
            raise InputError(f"input {shown(name)!r} can't have the shape {list(shape)}")
    for name, array in (arrays or {}).items():
        given[name] = tuple(np.shape(array))
    sizes: dict[str, int] = {}
    for name, actual in given.items():
        _check_shape(inputs[name], actual)
        for dim, size in zip(inputs[name].dims or (), actual, strict=False):
            if isinstance(dim, str):
                sizes.setdefault(dim, size)
    found = dict(given)
    for name, info in inputs.items():
        if name not in found and info.dims is not None:
            found[name] = tuple(
                dim if isinstance(dim, int) else sizes.get(dim, 1) if dim is not None else 1 for dim in info.dims
            )
    return {name: found[name] for name in inputs if name in found}


def _check_shape(info: InputInfo, actual: tuple[int, ...]) -> None:
    if info.dims is None:
        return
    if len(info.dims) != len(actual):
        raise InputError(f"input {shown(info.name)!r} has {len(info.dims)} dimensions, not {len(actual)}")
    for axis, (dim, size) in enumerate(zip(info.dims, actual, strict=True)):
        if isinstance(dim, int) and dim != size:
            raise InputError(f"input {shown(info.name)!r}: dimension {axis} is {dim} in the model, not {size}")


def make_inputs(
    model: Model,
    arrays: Mapping[str, Array] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
) -> dict[str, Array]:
    """An array for every input: the given one, else floats of the standard normal distribution, integers 1, booleans
    true, empty strings. bfloat16 comes as its bits in uint16.

    Raises:
        InputError: as ``resolved_shapes``; an array of another element type; an input for which nothing can be made.
    """
    arrays = arrays or {}
    sizes = resolved_shapes(model, arrays, shapes)
    random = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for info in model_inputs(model):
        if info.name in arrays:
            made[info.name] = _checked(info, np.asarray(arrays[info.name]))
        elif not info.elem_type:
            raise InputError(
                f"input {shown(info.name)!r} is no tensor of a known type: no value can be made or given for it"
            )
        elif info.name not in sizes:
            raise InputError(f"input {shown(info.name)!r} has no shape in the model: give --input-shape or --inputs")
        else:
            try:
                made[info.name] = _made(info, sizes[info.name], random)
            except (ValueError, MemoryError) as error:
                wanted = f"{list(sizes[info.name])} of {type_name(info.elem_type)}"
                raise InputError(f"input {shown(info.name)!r}: {wanted} does not fit into memory") from error
    return made


def check_arrays(model: Model, arrays: Mapping[str, Array]) -> None:
    """Raises InputError for an array whose element type is not the input's."""
    for info in model_inputs(model):
        if info.name in arrays:
            _checked(info, np.asarray(arrays[info.name]))


def _made(info: InputInfo, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    kind = info.elem_type
    dtype = numpy_type(kind) or np.dtype("V1")
    if kind == _BFLOAT16:
        return _bfloat16(random.standard_normal(shape, np.float32))
    if kind == onnx.TensorProto.STRING:
        return np.full(shape, "", dtype=object)
    if dtype.isbuiltin != 1 or dtype.kind not in "biufc":
        raise InputError(
            f"input {shown(info.name)!r} has an element type that no value can be made for: {type_name(kind)}"
        )
    if dtype.kind == "f":
        return np.asarray(random.standard_normal(shape)).astype(dtype)
    return np.ones(shape, dtype)


def _bfloat16(values: Array) -> Array:
    """The upper halves of float32 values."""
    return (np.asarray(values, np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16).reshape(values.shape)


def _checked(info: InputInfo, array: Array) -> Array:
    kind = info.elem_type
    if kind == _BFLOAT16:
        if array.dtype.itemsize == 2 and array.dtype.kind in "uV":
            return array.view(np.uint16)
        if array.dtype == np.float32:
            return _bfloat16(array)
    elif kind == onnx.TensorProto.STRING:
        if array.dtype.kind in "OUS":
            return array.astype(object)
    elif kind and numpy_type(kind) is not None and array.dtype == numpy_type(kind):
        return array
    raise InputError(f"input {shown(info.name)!r} is {type_name(kind)}, not {array.dtype}")


def numpy_type(kind: int) -> np.dtype[np.generic] | None:
    """NumPy's type for an element type; None for a number that stands for none."""
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    except KeyError:
        return None


def type_name(kind: int) -> str:
    """ONNX's name of an element type in lower case, ``float`` or ``int64``."""
    if kind in onnx.TensorProto.DataType.values():
        return str(onnx.TensorProto.DataType.Name(kind)).lower()
    return "of no known type"
