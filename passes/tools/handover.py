"""What a tool is given and how it is run: files of its own, output that stays off our stdout, errors of one line."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import onnx

from modelexport.ir.errors import InputError, MissingExtraError, ModelExportError, ToolError

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_LINES, _MODEL, _DATA = 400, "model.onnx", "model.onnx.data"
_LARGE = 1_900_000_000  # bytes that one protobuf message surely holds
_SHAPES_DIFFER = "Inferred shape and existing shape differ"


class Handover:
    """A model on its way to a tool and back.

    Attributes:
        proto: the model, with its weights and without anything of ours; the tool may change it.
        folder: a folder for files, which is removed in every case.
    """

    def __init__(self, proto: onnx.ModelProto, folder: Path) -> None:
        self.proto = proto
        self.folder = folder

    def file(self) -> str:
        """The model in a file; above 2 GB with its weights beside it."""
        path = self.folder / _MODEL
        if not path.exists():
            large = self.proto.ByteSize() > _LARGE
            onnx.save_model(self.proto, str(path), save_as_external_data=large, location=_DATA if large else None)
        return str(path)

    def target(self, name: str = "result.onnx") -> str:
        """Where a tool may write."""
        return str(self.folder / name)

    def result(self, name: str = "result.onnx") -> onnx.ModelProto:
        """What a tool wrote there, with its weights."""
        return onnx.load(self.target(name))


@contextlib.contextmanager
def scratch_folder(beside: Path | None) -> Iterator[Path]:
    """A folder beside the output, else among the system's temporary files; removed in every case."""
    try:
        made = tempfile.mkdtemp(prefix=".modelexport.", suffix=".tmp", dir=beside)
    except OSError as error:
        raise InputError(f"{beside}: {error.strerror or error}") from error
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


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
