"""From a Model back to a file: what no pass changed is written as the source bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path

import onnx
from google.protobuf.message import EncodeError

from modelexport.ir.errors import OutputError
from modelexport.ir.io.atomic import atomic_output, check_writable
from modelexport.ir.io.external.external_data import DataMode, Placement, embedded, may_have_external_data, plan
from modelexport.ir.io.external.gathering import Gathering
from modelexport.ir.io.overlay import assemble, assemble_pieces
from modelexport.ir.model import Model


def to_bytes(model: Model) -> bytes:
    """Serialize ``model``, deterministically. References to external data stay as they are.

    Raises:
        OutputError: the model is larger than the 2 GB that one protobuf file may have.
    """
    with _limited("<bytes>"):
        return b"".join(assemble_pieces(model)[1])


def streamed(model: Model, *, allow_outside_data: bool = False) -> bytes:
    """Serialize ``model`` for a stream. External data is looked at as in ``save_model``, and stays where it is.

    Raises:
        OutputError: the model is larger than the 2 GB that one protobuf file may have, or has data that a tool made.
        InputError: external data is outside the model's folder and this was not allowed.
    """
    if model.data_home is not None:
        raise OutputError("stdout: with its weights the result is above 2 GB, and they need a file beside it: name one")
    with _limited("<stdout>"):
        proto, data = assemble_pieces(model)
    if may_have_external_data(data):
        plan(model, proto, None, "keep", allow_outside_data=allow_outside_data)
    return b"".join(data)


def save_model(
    model: Model, path: str | PathLike[str], *, external_data: DataMode = "copy", allow_outside_data: bool = False
) -> None:
    """Write ``model`` to ``path``, atomically; on an error nothing is written and an existing file is untouched.

    Args:
        path: the output file; its folder must exist.
        external_data: what becomes of weights in files of their own when the output is in another folder: ``copy`` them
            there, ``keep`` the references as they are, ``embed`` them in the model, or ``link`` (hard links). Only
            ``embed`` reads them. Of a piece of a model ``copy`` gathers what it uses in ``<path>.data``, in any folder;
            so does every mode but ``embed`` with what a tool made, which is in no file of the user's.
            What a user should know is added to ``model.warnings``.
        allow_outside_data: accept data files outside the model's folder; such data is only kept or embedded.

    Raises:
        OutputError: the output can't be written, is larger than 2 GB, or would replace a different data file.
        InputError: data to embed or copy can't be read, or lies outside the model's folder.
    """
    target = Path(path)
    check_writable(target)
    placement = Placement()
    gathers = (model.gathers_data and external_data == "copy") or model.data_home is not None
    if gathers and external_data != "embed":
        proto = assemble(model)
        gathering = Gathering(model, proto, target, allow_outside_data=allow_outside_data)
        if gathering.parts:
            gathering.save(target, partial(_serialize, label=str(target)))
            return
    if external_data == "embed":
        whole = embedded(model, assemble(model), target, allow_outside_data=allow_outside_data)
        data = [_serialize(whole, str(target))]
        del whole
    else:
        with _limited(str(target)):
            proto, data = assemble_pieces(model)
        if not gathers and may_have_external_data(data):
            placement = plan(model, proto, target, external_data, allow_outside_data=allow_outside_data)
        del proto
    with placement.placed(target), atomic_output(target) as stream:
        stream.writelines(data)


def _serialize(proto: onnx.ModelProto, label: str) -> bytes:
    with _limited(label):
        return bytes(proto.SerializeToString(deterministic=True))


@contextmanager
def _limited(label: str) -> Iterator[None]:
    try:
        yield
    except (EncodeError, ValueError) as error:
        raise OutputError(
            f"{label}: the model is larger than 2 GB, the limit of one protobuf file; keep its weights as external data"
        ) from error
