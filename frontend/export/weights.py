"""Weights go around the protobuf: straight from the tensors to the file, each once.

torch builds the model with its weights in memory, serializes it, and for its own purposes parses it again. Instead the
graph is exported without them. Where a weight belongs the graph has an initializer that refers to external data, and
its ``Weight`` is written at the end, into the model file or into one data file beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import onnx
import torch

from modelexport.frontend.torch.scopes import replaced
from modelexport.ir.errors import OutputError
from modelexport.ir.io.writer import to_bytes
from modelexport.ir.model import Model
from modelexport.ir.proto.fields import fields
from modelexport.ir.proto.wire import delimited, varint

ALIGNMENT = 4096  # of weights in a data file, so that a reader can map them
_BLOCK = 1 << 20  # bytes of a weight that are copied at a time
SMALL = 1024  # bytes; smaller weights stay in the graph
SMALL_FOR_DYNAMO = 256  # the bound of the dynamo exporter, so that external_data=True leaves the same ones inside
PROTOBUF_LIMIT = 2**31 - 1
_PASSES = ("_jit_pass_filter_non_tensor_arguments", "_jit_pass_onnx_deduplicate_initializers")
_TENSOR = onnx.TensorProto.DESCRIPTOR.fields_by_name
_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_RAW_DATA = _TENSOR["raw_data"].number


@dataclass(frozen=True, slots=True)
class Weight:
    """The bytes of one initializer: how many, and a function that gives them, piece by piece where they are copied."""

    nbytes: int
    pieces: Callable[[], Iterable[bytes | memoryview]]

    def read(self) -> bytes:
        """All of them."""
        return b"".join(self.pieces())

    def write(self, stream: BinaryIO) -> None:
        """Write them to ``stream``."""
        for piece in self.pieces():
            stream.write(piece)


Weights = dict[str, Weight]


def can_capture() -> bool:
    """Whether this torch has the passes that ``captured_parameters`` stands around."""
    return all(hasattr(torch._C, name) for name in _PASSES)


@contextmanager
def captured_parameters() -> Iterator[dict[str, torch.Tensor]]:
    """Fills the dictionary it gives with the parameters that TorchScript is about to write, by value name."""
    found: dict[str, torch.Tensor] = {}

    def capture(original: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        found.clear()
        found.update(result)
        return result

    with ExitStack() as stack:
        for name in _PASSES:
            stack.enter_context(replaced(torch._C, name, capture))
        yield found


def inputs_to_initializers(
    proto: onnx.ModelProto, parameters: Mapping[str, torch.Tensor], *, keep_inputs: bool = False
) -> Weights:
    """Give a graph that was exported without weights its initializers, in the order torch would write them."""
    weights: Weights = {}
    inputs = list(proto.graph.input)
    for value in inputs:
        tensor = parameters.get(value.name)
        if tensor is None:
            continue
        entry = proto.graph.initializer.add()
        entry.dims.extend(tensor.shape)
        entry.data_type = value.type.tensor_type.elem_type
        entry.name = value.name
        nbytes = tensor.numel() * tensor.element_size()
        weight = Weight(nbytes, partial(_rows_of, tensor))
        if nbytes <= SMALL:
            entry.raw_data = weight.read()
        else:
            weights[value.name] = weight
            refer(entry, "weights", len(weights), nbytes)
    if not keep_inputs:
        del proto.graph.input[:]
        proto.graph.input.extend(value for value in inputs if value.name not in parameters)
    return weights


def taken_out(program_model: Any) -> Weights:
    """Put references in the place of an onnx_ir model's larger initializers."""
    import onnx_ir

    weights: Weights = {}
    for name, value in program_model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes <= SMALL_FOR_DYNAMO or tensor.dtype == onnx_ir.DataType.STRING:
            continue
        weights[name] = Weight(tensor.nbytes, partial(_elements, tensor))
        value.const_value = onnx_ir.ExternalTensor(
            "weights", len(weights), tensor.nbytes, tensor.dtype, shape=tensor.shape, name=name, base_dir=""
        )
    return weights


_PLAIN = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT64", "INT32", "INT16", "INT8", "UINT8", "BOOL")


def lifted(proto: onnx.ModelProto) -> Weights:
    """The larger weights of a graph that has them inside; their initializers become references."""
    weights: Weights = {}
    for entry in proto.graph.initializer:
        if entry.HasField("raw_data") and len(entry.raw_data) > SMALL:
            data = entry.raw_data
            weights[entry.name] = Weight(len(data), partial(iter, (data,)))
            entry.ClearField("raw_data")
            refer(entry, "weights", len(weights), len(data))
    return weights


def refer(entry: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Make an initializer refer to external data."""
    del entry.external_data[:]
    entry.data_location = onnx.TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", str(offset)), ("length", str(length))):
        entry.external_data.add(key=key, value=text)


def put_back(proto: onnx.ModelProto, weights: Weights) -> None:
    """Put the weights into the graph, for passes that read them."""
    for entry in proto.graph.initializer:
        weight = weights.get(entry.name)
        if weight is not None:
            _inline(entry)
            entry.raw_data = weight.read()
    weights.clear()


def write_data(proto: onnx.ModelProto, weights: Weights, data_file: Path, alignment: int = ALIGNMENT) -> None:
    """Write the weights to a data file, where there are any, and let the initializers refer to it."""
    if not weights:
        return
    with data_file.open("wb") as stream:
        for entry in proto.graph.initializer:
            weight = weights.get(entry.name)
            if weight is not None:
                stream.write(b"\0" * (-stream.tell() % alignment))
                refer(entry, data_file.name, stream.tell(), weight.nbytes)
                weight.write(stream)
    weights.clear()


def write_embedded(model: Model, weights: Weights, path: Path) -> None:
    """Write ``model`` with its weights inside, without ever having both in memory.

    Raises:
        OutputError: the file would be larger than the 2 GB that one protobuf file may have.
    """
    light = to_bytes(model)
    with path.open("wb") as stream:
        for number, begin, start, end in fields(light, 0, len(light)):
            if number == _GRAPH:
                _write_graph(light[start:end], weights, stream, path)
            else:
                stream.write(light[begin:end])


def _write_graph(light: bytes, weights: Weights, stream: BinaryIO, path: Path) -> None:
    pieces: list[bytes | Weight] = []
    run = 0  # fields that stay as they are are written together
    for number, begin, start, end in fields(light, 0, len(light)):
        if number != _INITIALIZER:
            continue
        entry = onnx.TensorProto.FromString(light[start:end])
        weight = weights.get(entry.name)
        if weight is not None:
            _inline(entry)
            head = entry.SerializeToString() + varint(_RAW_DATA << 3 | 2) + varint(weight.nbytes)
            pieces += [
                light[run:begin],
                varint(_INITIALIZER << 3 | 2) + varint(len(head) + weight.nbytes) + head,
                weight,
            ]
            run = end
    pieces.append(light[run:])
    size = sum(len(piece) if isinstance(piece, bytes) else piece.nbytes for piece in pieces)
    if size + len(light) > PROTOBUF_LIMIT:
        raise OutputError(f"{path.name}: the model is larger than 2 GB: give external_data=True")
    stream.write(delimited(_GRAPH, b"")[:-1] + varint(size))
    for piece in pieces:
        if isinstance(piece, bytes):
            stream.write(piece)
        else:
            piece.write(stream)


def _inline(entry: onnx.TensorProto) -> None:
    del entry.external_data[:]
    entry.ClearField("data_location")


def _elements(tensor: Any) -> Iterator[bytes | memoryview]:
    import numpy as np

    if tensor.dtype.name not in _PLAIN:  # packed, or of a type that numpy does not have
        yield bytes(tensor.tobytes())
        return
    array = tensor.numpy()
    for start, end in _blocks(array.shape, array.nbytes, bool(array.flags.c_contiguous)):
        part = array if end is None else array[start:end]
        yield memoryview(np.ascontiguousarray(part).reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def _rows_of(tensor: torch.Tensor) -> Iterator[memoryview]:
    tensor = tensor.detach()
    for start, end in _blocks(tensor.shape, tensor.numel() * tensor.element_size(), tensor.is_contiguous()):
        part = tensor if end is None else tensor[start:end]
        yield memoryview(part.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def _blocks(shape: Sequence[int], nbytes: int, contiguous: bool) -> Iterator[tuple[int, int | None]]:
    """Rows from and to, of blocks that are copied one at a time; (0, None) where the whole needs no copy or is small.

    Most weights of torch's exports are transposed. A copy of the largest stayed in the process as 1 % of a BERT's
    memory, copies of all as 12 %.
    """
    rows = max(1, _BLOCK * shape[0] // nbytes) if shape and nbytes else 0
    if contiguous or nbytes <= _BLOCK or not rows:
        yield 0, None
        return
    for start in range(0, shape[0], rows):
        yield start, start + rows
