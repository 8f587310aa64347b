"""A folder of one model's own for data that is in no file of the user's, and tensors moved there and back."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import onnx

from modelexport.ir.errors import InputError
from modelexport.ir.io.external.external_data import all_tensors, external_tensors
from modelexport.ir.io.weights import EXTERNAL, Weights
from modelexport.ir.model import Model
from modelexport.ir.state import DataHome

SMALL = 1024  # bytes; smaller tensors stay in the model, as onnx itself leaves them


class DataFolder(DataHome):
    """A temporary folder, removed when nothing refers to this object any more, and at the latest when Python ends.

    Args:
        beside: the folder it is made in; that of the system's temporary files unless given.

    Raises:
        InputError: it can't be made.
    """

    def __init__(self, beside: Path | None) -> None:
        try:
            made = tempfile.mkdtemp(prefix=".modelexport.", suffix=".tmp", dir=beside)
        except OSError as error:
            raise InputError(f"{beside}: {error.strerror or error}") from error
        super().__init__(Path(made))
        self._finalizer = weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)

    def remove(self) -> None:
        """Remove it now."""
        self._finalizer()


def with_small_inside(proto: onnx.ModelProto, weights: Weights) -> None:
    """Put external tensors below ``SMALL`` into the model. Raises InputError where data can't be read."""
    for tensor in external_tensors(proto):
        if weights.size(tensor) < SMALL:
            put_inside(tensor, weights)


def put_inside(tensor: onnx.TensorProto, weights: Weights) -> None:
    """Put the data of an external tensor into it, as ``onnx.load`` does. Raises InputError."""
    tensor.raw_data = bytes(weights.raw(tensor))
    tensor.ClearField("external_data")
    tensor.data_location = onnx.TensorProto.DEFAULT


def move_out(proto: onnx.ModelProto, path: Path) -> None:
    """Move the data of the large tensors of ``proto`` to the file ``path``, beside which the model then is."""
    with open(path, "wb") as stream:
        for tensor in all_tensors(proto):
            if tensor.data_location == EXTERNAL or len(tensor.raw_data) < SMALL:
                continue
            offset, size = stream.tell(), len(tensor.raw_data)
            stream.write(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = EXTERNAL
            for key, value in (("location", path.name), ("offset", offset), ("length", size)):
                tensor.external_data.add(key=key, value=str(value))


def settle(proto: onnx.ModelProto, home: DataFolder, limit: int) -> Model:
    """What a tool left: ``proto``, whose external data is in ``home``. All inside where that is at most ``limit``
    bytes, else all that is large outside. The model keeps ``home`` where it needs it.

    Raises:
        InputError: the data can't be read.
    """
    holder = Model(proto)
    holder.data_home = home
    weights = Weights(holder)
    outside = list(external_tensors(proto))
    inline = sum(len(tensor.raw_data) for tensor in all_tensors(proto))
    if not outside and inline <= limit and proto.ByteSize() <= limit:  # which fails where it is above 2 GB
        holder.data_home = None
        return holder
    if inline + sum(weights.size(tensor) for tensor in outside) <= limit:
        for tensor in outside:
            put_inside(tensor, weights)
        holder.data_home = None
    elif inline > 0:
        move_out(proto, home.folder / "moved.data")
    return holder
