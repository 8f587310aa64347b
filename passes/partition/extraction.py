"""Modules cut out of a model as a model of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import onnx

from modelexport.ir.errors import ConfigError
from modelexport.ir.io.subgraph import restrict
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.text import shown
from modelexport.passes.partition.boundary import Cut, Dataflow, kept_initializer_inputs
from modelexport.passes.partition.members import Call, members_of, of_call, spelled
from modelexport.passes.partition.value_types import ValueTypes
from modelexport.passes.pipeline.attributed import attributed


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a model.

    Attributes:
        model: the part as a model.
        cut: the nodes of the whole that it is made of, and its boundary.
        random: whether one of its nodes draws random numbers, so that two runs differ.
    """

    model: Model
    cut: Cut
    random: bool


def extract(model: Model | str | PathLike[str], paths: str | Sequence[str], *, call: Call = None) -> Model:
    """The modules at ``paths`` as a model of their own; ``model`` is not changed.

    Nodes between the members come along, constants that they read are copied in, and values that cross the boundary
    keep their names. See docs/compute.md.

    Args:
        model: a model or a file; one without attributions is attributed in memory.
        paths: dotted paths of modules, or one of them; ``.`` or ``""`` is the root.
        call: which call of a module that runs several times, counted from 1, or ``all``.

    Raises:
        ConfigError: a path is unknown, has no node that can be cut out, or runs several times and no call was named.
        InputError: the file can't be read, or the element type of a boundary value is not known.
    """
    return extract_piece(attributed(model), paths, call=call).model


def extract_piece(whole: Model, paths: str | Sequence[str], *, call: Call = None) -> Piece:
    """As :func:`extract`, with what is known of the piece. The nodes of ``whole`` have attributions."""
    if not paths:
        raise ConfigError("no module to extract: name at least one path")
    flow = Dataflow(whole)
    named = module_paths(paths)
    if "" in named and call is None:
        return make_piece(flow, flow.whole(), below=[""])
    members: dict[Node, None] = {}
    for path in named:
        found = members_of(whole, path, flow.order, flow.constants)
        members.update(dict.fromkeys(of_call(whole, path, found, call)))
    cut = flow.cut(members)
    if not cut.outputs:
        names = ", ".join(map(spelled, named))
        raise ConfigError(f"{names}: nothing that the module computes is read outside or is an output of the graph")
    return make_piece(flow, cut, below=named)


def make_piece(flow: Dataflow, cut: Cut, *, below: Sequence[str] = ()) -> Piece:
    """The piece that a cut describes.

    Raises:
        InputError: the element type of a boundary value is not known.
    """
    types = ValueTypes(flow.model)
    inputs = [*types.of(cut.inputs), *kept_initializer_inputs(flow.model, cut)]
    outputs = types.of(cut.outputs)
    piece = restrict(flow.model, set(cut.nodes), inputs, outputs, below=below)
    for value in (*inputs, *outputs):
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            name = shown(value.name)
            piece.warnings.append(
                f"the shape of {name!r} is not known and left out: onnx.checker refuses that, runtimes don't"
            )
    if flow.model.proto.training_info:
        piece.warnings.append("training_info is of the whole model and left out")
    return Piece(piece, cut, any(flow.is_random(node) for node in cut.nodes))


def module_paths(paths: str | Sequence[str]) -> list[str]:
    """Paths of modules as users write them, or a single one: ``.`` is the root."""
    return ["" if path == "." else path for path in ([paths] if isinstance(paths, str) else paths)]


def value_row(value: onnx.ValueInfoProto) -> dict[str, object]:
    """``{name, dtype, shape}`` of a boundary value: the element type in lower case, sizes, names and nulls, or null."""
    name = shown(value.name)
    if not value.type.HasField("tensor_type"):
        return {"name": name, "dtype": value.type.WhichOneof("value") or "", "shape": None}
    tensor = value.type.tensor_type
    dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    if not tensor.HasField("shape"):
        return {"name": name, "dtype": dtype, "shape": None}
    dims = [d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in tensor.shape.dim]
    return {"name": name, "dtype": dtype, "shape": dims}
