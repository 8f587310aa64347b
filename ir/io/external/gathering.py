"""The external data that a piece of a model uses, gathered in one file beside the piece."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import onnx

from modelexport.ir.errors import InputError, OutputError
from modelexport.ir.io.atomic import atomic_output, beside, identity
from modelexport.ir.io.external.exchanging import exchange, reading_from
from modelexport.ir.io.external.external_data import external_tensors
from modelexport.ir.io.weights import Weights, data_ref, is_outside
from modelexport.ir.model import Model
from modelexport.ir.text import shown

_ALIGN, _ALIGN_LARGE, _LARGE = 64, 4096, 1 << 16  # bytes; large tensors begin at a page so that runtimes can map them
_CHUNK = 1 << 24


class Gathering:
    """A proto whose external data is in ``<target>.data``, and the way to write that file.

    Attributes:
        proto: a copy of the given proto with the new references; the proto itself where it has no external data.
        parts: what the file is made of: offset in it, and a tensor of the source with these bytes.

    Raises:
        InputError: data is missing, or lies outside the model's folder and that was not allowed.
        OutputError: the file can't be written without replacing another one.
    """

    def __init__(self, model: Model, proto: onnx.ModelProto, target: Path, *, allow_outside_data: bool = False) -> None:
        self.path = target.with_name(target.name + ".data")
        self.proto = proto
        self.parts: list[tuple[int, onnx.TensorProto]] = []
        self._weights = Weights(model, allow_outside_data=allow_outside_data)
        sources = list(external_tensors(proto))
        if not sources:
            return
        self._refuse_overwriting(model, target, sources, allow_outside_data)
        self.proto = onnx.ModelProto()
        self.proto.CopyFrom(proto)
        placed: dict[tuple[str, int, int], int] = {}
        end = 0
        for source, tensor in zip(sources, external_tensors(self.proto), strict=True):
            size = self._weights.size(source)
            ref = data_ref(source)
            key = (os.path.normpath(ref.location), ref.offset, size)
            if key not in placed:
                align = _ALIGN_LARGE if size >= _LARGE else _ALIGN
                placed[key] = -(-end // align) * align
                end = placed[key] + size
                self.parts.append((placed[key], source))
            del tensor.external_data[:]
            for name, value in (("location", self.path.name), ("offset", placed[key]), ("length", size)):
                tensor.external_data.add(key=name, value=str(value))

    def save(self, target: Path, serialize: Callable[[onnx.ModelProto], bytes]) -> None:
        """Write the file, and the model to ``target``. An earlier pair stays whole until both are there.

        Raises:
            OutputError: they can't be written; what was there before is as it was.
        """
        data = serialize(self.proto)
        if not self.path.exists():
            before = identity(target)
            try:
                with atomic_output(self.path) as stream:
                    self._write(stream)
                _write(target, data)
            except BaseException:
                if identity(target) == before:
                    with contextlib.suppress(OSError):
                        self.path.unlink()
                raise
            return
        fresh = beside(self.path)
        try:
            with atomic_output(fresh) as stream:
                self._write(stream)
            with reading_from(self.proto, self.path.name, fresh.name):
                interim = serialize(self.proto)
            exchange(target, self.path, fresh, partial(_write, target, interim), partial(_write, target, data))
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"{self.path}: {error.strerror or error}") from error
        finally:
            with contextlib.suppress(OSError):
                fresh.unlink()

    def _write(self, stream: BinaryIO) -> None:
        end = 0
        for offset, tensor in self.parts:
            stream.write(bytes(offset - end))
            data = self._weights.raw(tensor)
            for start in range(0, len(data), _CHUNK):
                stream.write(data[start : start + _CHUNK])
            end = offset + len(data)

    def _refuse_overwriting(
        self, model: Model, target: Path, tensors: list[onnx.TensorProto], allow_outside: bool
    ) -> None:
        for location in dict.fromkeys(data_ref(tensor).location for tensor in tensors):
            if is_outside(model, location) and not allow_outside:
                raise InputError(
                    f"{model.path or '<model>'}: external data {shown(location)} is outside the model's folder; "
                    "--allow-outside-data accepts it"
                )
            source = (model.base_dir or Path()) / location
            if source.exists() and any(path.exists() and path.samefile(source) for path in (target, self.path)):
                raise OutputError(f"{target}: its data would replace {source}; choose another output name")
        if self.path.exists() and not target.exists():
            raise OutputError(f"{self.path}: another file is where external data has to go; remove it")


def _write(target: Path, data: bytes) -> None:
    with atomic_output(target) as stream:
        stream.write(data)
