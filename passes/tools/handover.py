"""What a tool is given and how it is run: files of its own, output that stays off our stdout, errors of one line."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import onnx

from modelexport.ir.errors import MissingExtraError, ModelExportError, ToolError
from modelexport.ir.io.external.data_folder import DataFolder, move_out, put_inside, settle, with_small_inside
from modelexport.ir.io.external.external_data import external_tensors
from modelexport.ir.io.external.gathering import Gathering
from modelexport.ir.io.weights import Weights
from modelexport.ir.model import Model

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_LINES, _MODEL = 400, "model.onnx"
LARGE = 1_900_000_000  # bytes that one protobuf message surely holds
_SHAPES_DIFFER = "Inferred shape and existing shape differ"


class Handover:
    """A model on its way to a tool and back: in memory, or where it is large in a file with its weights beside it.

    Attributes:
        large: whether it is more than one protobuf message surely holds, with its weights.
        folder: a folder for files.

    Raises:
        InputError: its external data can't be read.
    """

    def __init__(self, model: Model, proto: onnx.ModelProto, home: DataFolder, allow_outside_data: bool) -> None:
        self.home = home
        self.folder = home.folder
        weights = Weights(model, allow_outside_data=allow_outside_data)
        outside = list(external_tensors(proto))
        self.large = proto.ByteSize() + sum(weights.size(tensor) for tensor in outside) > LARGE
        self._proto: onnx.ModelProto | None = None if self.large else proto
        if not self.large:
            for tensor in outside:
                put_inside(tensor, weights)
            return
        with_small_inside(proto, weights)
        gathering = Gathering(model, proto, self.folder / _MODEL, allow_outside_data=allow_outside_data)
        move_out(gathering.proto, self.folder / "inside.data")
        gathering.save(self.folder / _MODEL, lambda proto: bytes(proto.SerializeToString(deterministic=True)))

    @property
    def proto(self) -> onnx.ModelProto:
        """The model, with its weights and without anything of ours; the tool may change it."""
        if self._proto is None:
            self._proto = onnx.load(self.folder / _MODEL)
        return self._proto

    def file(self) -> str:
        """The model in a file; a large one with its weights beside it."""
        path = self.folder / _MODEL
        if not path.exists():
            onnx.save_model(self.proto, str(path))
        return str(path)

    def given(self) -> onnx.ModelProto | str:
        """What a tool is given that takes both: the model, or its file where it is large."""
        return self.file() if self.large else self.proto

    def without_data(self) -> onnx.ModelProto:
        """The model for a tool that computes with no large weight; those of a large one stay in its folder."""
        return onnx.load(self.file(), load_external_data=False) if self.large else self.proto

    def target(self, name: str = "result.onnx") -> str:
        """Where a tool may write."""
        return str(self.folder / name)

    def result(self, name: str = "result.onnx") -> onnx.ModelProto:
        """What a tool wrote there; what it wrote beside it stays there."""
        return onnx.load(self.target(name), load_external_data=False)

    def read_back(self, result: onnx.ModelProto) -> Model:
        """The result with its weights: inside, or where it is large in the folder, which the model then keeps."""
        return settle(result, self.home, LARGE)


def require(module: str, package: str, extra: str, what: str) -> Any:
    """The tool's module. Raises MissingExtraError."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"the package {package}", extra, what) from error


def tool_version(package: str) -> str:
    """Name and version of an installed tool."""
    for name in (package, f"{package}-gpu"):
        with contextlib.suppress(PackageNotFoundError):
            return f"{package} {version(name)}"
    return package


def call(work: Callable[[], _Result], name: str, package: str, done: tuple[str, ...], folder: Path) -> _Result:
    """Run a tool. What it says goes to our log; ``folder`` is left out of its messages.

    Raises:
        ToolError: it failed, in whatever way; the message has the first line of its own.
    """
    try:
        with _talk_logged(package):
            return work()
    except ModelExportError:
        raise
    except (Exception, SystemExit) as error:
        said = first_line(error).replace(f"{folder}{os.sep}", "")
        hint = "; try drop-value-info before it" if _SHAPES_DIFFER in str(error) else ""
        raise ToolError(f"the pass {name}: {package}: {said}{hint}", name, done) from error


def first_line(error: BaseException) -> str:
    """The first line of a tool's message; onnxruntime's without its prefix."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    if line.startswith("[ONNXRuntimeError]"):
        line = line.split(" : ", 3)[-1]
    return line


@contextlib.contextmanager
def _talk_logged(package: str) -> Iterator[None]:
    """Take what is written to stdout and stderr, from C++ too, and log it at the level of ``-v``."""
    handlers = list(logging.root.handlers)
    with tempfile.TemporaryFile() as sink:
        saved = _redirect(sink.fileno())
        stream = os.fdopen(os.dup(sink.fileno()), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
        try:
            with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
                yield
        finally:
            with contextlib.suppress(OSError):
                stream.flush()
            _restore(saved)
            logging.root.handlers[:] = handlers  # a tool's basicConfig writes to the stream that ends here
            stream.close()
            sink.seek(0)
            lines = sink.read().decode("utf-8", "replace").splitlines()
            for line in [line.rstrip() for line in lines if line.strip()][:_LINES]:
                _log.info("%s: %s", package, line)


def _redirect(target: int) -> list[tuple[int, int]]:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    saved = []
    for descriptor in (1, 2):
        try:
            saved.append((descriptor, os.dup(descriptor)))
        except OSError:  # closed by whoever started us
            continue
        os.dup2(target, descriptor)
    return saved


def _restore(saved: list[tuple[int, int]]) -> None:
    for descriptor, copy in saved:
        os.dup2(copy, descriptor)
        os.close(copy)
