"""What becomes of weights that are in files of their own when their model is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import onnx

from modelexport.ir.errors import InputError, OutputError
from modelexport.ir.identity.file_kinds import pointer
from modelexport.ir.io.atomic import atomic_output, identity
from modelexport.ir.io.external.copying import copy_content, same_content
from modelexport.ir.io.weights import EXTERNAL, Weights, data_location, data_ref, is_below, is_outside
from modelexport.ir.model import Model
from modelexport.ir.text import shown, text

DataMode = Literal["copy", "keep", "embed", "link"]
PROTO_LIMIT = 2**31 - 1  # bytes of one protobuf message
_CHEAP = 2**26  # bytes that are serialised sooner than their tensors are looked at one by one


def may_have_external_data(pieces: Iterable[bytes]) -> bool:
    """Whether a serialized model can refer to external data at all: every reference spells the key ``location``.

    Args:
        pieces: its bytes, cut nowhere inside a tensor.
    """
    return any(b"location" in piece for piece in pieces)


def external_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor with external data: initializers, attributes, bodies, functions, sparse parts, training graphs."""
    if proto.ByteSize() < _CHEAP and not may_have_external_data([proto.SerializeToString()]):
        return
    for tensor in all_tensors(proto):
        if tensor.data_location == EXTERNAL:
            yield tensor


def all_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor: initializers, attributes, bodies, functions, sparse parts, training graphs."""
    graphs = [proto.graph]
    attributes: list[onnx.AttributeProto] = []
    for function in proto.functions:
        attributes += function.attribute_proto
        attributes += (attribute for node in function.node for attribute in node.attribute)
    for training in proto.training_info:
        graphs += [training.initialization, training.algorithm]
    while graphs or attributes:
        while attributes:
            attribute = attributes.pop()
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            for sparse in attribute.sparse_tensors:
                yield from (sparse.values, sparse.indices)
            if attribute.HasField("g"):
                graphs.append(attribute.g)
            graphs += attribute.graphs
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            for node in graph.node:
                attributes += node.attribute


@dataclass(slots=True)
class Placement:
    """Data files to bring to the output's folder."""

    copies: list[tuple[Path, Path]] = field(default_factory=list)
    links: list[tuple[Path, Path]] = field(default_factory=list)

    @contextmanager
    def placed(self, model: Path) -> Iterator[None]:
        """Bring them there; when this or the block, which writes ``model``, fails, take away again what was brought."""
        before = identity(model)
        made: list[Path] = []
        folders: list[Path] = []
        try:
            for source, target in self.links:
                _make_folder(target.parent, folders)
                _link(source, target)
                made.append(target)
            for source, target in self.copies:
                _make_folder(target.parent, folders)
                _copy(source, target)
                made.append(target)
            yield
        except BaseException:
            for path in made if identity(model) == before else ():
                with contextlib.suppress(OSError):
                    path.unlink()
            for folder in reversed(folders):  # those with a file in them stay
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise


def plan(
    model: Model, proto: onnx.ModelProto, target: Path | None, mode: DataMode, *, allow_outside_data: bool = False
) -> Placement:
    """Decide what to copy or link so that ``proto``, written to ``target``, finds its data; refuse what can't be done.

    A ``target`` of None is a stream, beside which there is nothing: references stay as they are, which is told. So is
    an offset or a length that can't be: nothing is read here.

    Raises:
        InputError: a location is outside the model's folder and this was not allowed, or can't be used.
        OutputError: the output would replace a data file, or a different file is where data has to go.
    """
    placement = Placement()
    tensors = list(external_tensors(proto))
    locations = list(dict.fromkeys(os.path.normpath(data_location(tensor)) for tensor in tensors))
    if not locations:
        return placement
    base = model.base_dir
    outside = _check_outside(model, locations, allow_outside_data)
    _warn_of_ranges(model, tensors)
    if target is None:
        _warn(model, "the model on stdout keeps its references to external data")
    elif base is None:
        _warn(model, f"external data {_list(locations)} is not copied: the model was not read from a file")
    if base is None:
        return placement
    if target is not None:
        _refuse_overwriting(base, target.parent, target, locations)
    if outside and mode != "keep" and target is not None:
        _warn(model, f"external data outside the model's folder stays where it is: {_list(outside)}")
    missing = [location for location in locations if not (base / location).exists()]
    if missing:
        _warn(model, f"external data is missing: {_list([str(base / location) for location in missing])}")
    if target is None or mode == "keep" or (base.exists() and os.path.samefile(base, target.parent)):
        return placement
    folder = target.parent
    skipped = {*outside, *missing}
    for location in locations:
        if location not in skipped:
            source, destination = base / location, folder / location
            if _is_needed(source, destination, folder):
                (placement.links if mode == "link" else placement.copies).append((source, destination))
    if mode == "link" and len(skipped) < len(locations):
        _warn(model, "external data is hard-linked: onnx and onnxruntime refuse data files that have several links")
    return placement


def embedded(
    model: Model, proto: onnx.ModelProto, target: Path, *, allow_outside_data: bool = False
) -> onnx.ModelProto:
    """``proto`` with all external data inside; a copy where there is any.

    Raises:
        InputError: data can't be read.
        OutputError: the result would be larger than one protobuf file may be.
    """
    tensors = list(external_tensors(proto))
    if not tensors:
        return proto
    locations = list(dict.fromkeys(os.path.normpath(data_ref(tensor).location) for tensor in tensors))
    _check_outside(model, locations, allow_outside_data)
    if model.base_dir is not None:
        _refuse_overwriting(model.base_dir, target.parent, target, locations)
    weights = Weights(model, allow_outside_data=allow_outside_data)
    if proto.ByteSize() + sum(weights.size(tensor) for tensor in tensors) > PROTO_LIMIT:
        raise OutputError(f"{target}: with its weights embedded the model is larger than 2 GB, the limit of one file")
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    for tensor in external_tensors(result):
        tensor.raw_data = bytes(weights.raw(tensor))
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    return result


def _check_outside(model: Model, locations: Iterable[str], allowed: bool) -> list[str]:
    outside = [location for location in locations if is_outside(model, location)]
    if outside and not allowed:
        raise InputError(
            f"{model.path or '<model>'}: external data {_list(outside)} is outside the model's folder; "
            "--allow-outside-data accepts it"
        )
    return outside


def _warn_of_ranges(model: Model, tensors: Iterable[onnx.TensorProto]) -> None:
    """Tell of data that can't be read where its tensors say it is."""
    sizes: dict[str, int | None] = {}
    bad: list[str] = []
    for tensor in tensors:
        try:
            ref = data_ref(tensor)
        except InputError as error:
            bad.append(str(error))
            continue
        if ref.location not in sizes:
            path = model.base_dir / ref.location if model.base_dir is not None else None
            sizes[ref.location] = path.stat().st_size if path is not None and path.is_file() else None
        size, end = sizes[ref.location], ref.offset + (ref.length or 0)
        if size is not None and end > size:
            label = shown(text(tensor.name))
            what = pointer(model.base_dir / ref.location) if model.base_dir is not None else ""
            where = f"ends at byte {end} of {shown(ref.location)}, which has {size}{what}"
            bad.append(f"tensor {label!r}: external data {where}")
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        _warn(model, f"{bad[0]}{more}; it is left as it is")


def keep_data_of(model: Model, target: Path) -> None:
    """Raises OutputError where ``target`` is a data file of the model, which writing it would destroy."""
    if model.base_dir is not None and target.exists():
        locations = {data_location(tensor) for tensor in external_tensors(model.proto)}
        _refuse_overwriting(model.base_dir, model.base_dir, target, sorted(locations))


def _refuse_overwriting(base: Path, folder: Path, target: Path, locations: Iterable[str]) -> None:
    for location in locations:
        source = base / location
        taken = target.exists() and source.exists() and os.path.samefile(source, target)
        if taken or os.path.normpath(folder / location) == os.path.normpath(target):
            raise OutputError(f"{target}: is the name of the model's external data; choose another output name")


def _is_needed(source: Path, destination: Path, folder: Path) -> bool:
    """Whether ``destination`` is still to be made. Raises for what must not be written or replaced."""
    root = os.path.realpath(folder)
    if not is_below(os.path.realpath(destination.parent), root):
        raise OutputError(f"{destination}: leads out of the output's folder; nothing is written there")
    if not source.is_file():
        raise InputError(f"{source}: external data is not a regular file")
    if not os.path.lexists(destination):
        return True
    try:
        if destination.is_file() and same_content(source, destination):
            return False
    except OSError as error:
        raise OutputError(f"{destination}: {error.strerror or error}") from error
    raise OutputError(
        f"{destination}: another file is where external data has to go; remove it or choose another folder"
    )


def _make_folder(folder: Path, made: list[Path]) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        try:
            path.mkdir()
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from error
        made.append(path)


def _copy(source: Path, target: Path) -> None:
    try:
        stream = open(source, "rb", buffering=0)  # noqa: SIM115
    except OSError as error:
        raise InputError(f"{source}: {error.strerror or error}") from error
    with stream, atomic_output(target, mode=os.fstat(stream.fileno()).st_mode & 0o777) as output:
        copy_content(stream.fileno(), output.fileno())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except (OSError, AttributeError, NotImplementedError) as error:  # not every system has hard links
        why = getattr(error, "strerror", None) or "this system has no hard links"
        raise OutputError(f"{target}: can't be hard-linked ({why}); use copy") from error


def _warn(model: Model, message: str) -> None:
    if message not in model.warnings:
        model.warnings.append(message)


def _list(locations: list[str]) -> str:
    return ", ".join(map(shown, locations[:3])) + (f" and {len(locations) - 3} more" if len(locations) > 3 else "")
