"""Every error this project raises on purpose, in one small hierarchy.

``exit_code`` is what a command line returns for the error: 1 for findings, 2 for wrong usage or input, 3 for a crash
inside a pass. The message is one line that names the file, pass or node and, where there is one, the fix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

_CARET_MARGIN = 100  # characters shown before and after a column


class ModelExportError(Exception):
    """Base of all errors raised on purpose."""

    exit_code: ClassVar[int] = 2


class InputError(ModelExportError):
    """A file or argument that was given can't be used: unreadable, not ONNX, cyclic, hostile."""


class MissingFileError(InputError, FileNotFoundError):
    """A file that was given is not there; the message names it."""


class SidecarNotFoundError(InputError, FileNotFoundError):
    """There is no sidecar where one was expected; the message names the file."""


class OutputError(ModelExportError):
    """The result can't be written where it was asked for; nothing was written."""


class MissingFolderError(OutputError, OSError):
    """The folder that a result should go to is not there, or is no folder; nothing was written."""


class ConfigError(ModelExportError):
    """A configuration key, environment variable or option has a value that can't be used."""


class MissingExtraError(ModelExportError, ImportError):
    """An optional dependency is needed; the message names the extra to install."""

    def __init__(self, package: str, extra: str, what: str) -> None:
        super().__init__(f"{what} needs {package}: pip install 'modelexport[{extra}]'")
        self.package = package
        self.extra = extra


class TextError(ModelExportError):
    """Text in a language of this project that can't be used.

    ``text`` and ``column`` (0-based) locate the fault; ``caret()`` draws it.
    """

    def __init__(self, message: str, text: str = "", column: int | None = None) -> None:
        super().__init__(message)
        self.text = text
        self.column = column

    def caret(self) -> str:
        """The text and a caret under the faulty column, or '' where no column is known. Of long text a part."""
        if self.column is None:
            return ""
        start = max(0, self.column - _CARET_MARGIN) if len(self.text) > 2 * _CARET_MARGIN else 0
        text = self.text[start : start + 2 * _CARET_MARGIN]
        return f"  {text}\n  {' ' * (self.column - start)}^"


class PipelineError(TextError):
    """Pipeline text that does not parse, or passes in an order that can't work."""


class SelectorError(TextError):
    """A selector that does not parse, or can't be used."""


class NothingSelectedError(SelectorError):
    """A selector that matches no node of the model; the message has what is nearest."""

    exit_code = 1


class GraphError(ModelExportError):
    """An edit of the graph that can't be done (unknown value, output still read, name taken)."""


class VerifyError(ModelExportError):
    """For passes that check a model themselves; the manager names the pass. Our own verifier raises PassError."""

    exit_code = 3


class PassError(ModelExportError):
    """A pass crashed or broke the verifier. ``pass_name`` failed; ``done`` names those that ran before it."""

    exit_code = 3

    def __init__(self, message: str, pass_name: str = "", done: tuple[str, ...] = (), node: str = "") -> None:
        super().__init__(message)
        self.pass_name = pass_name
        self.done = done
        self.node = node


class ToolError(PassError):
    """Another tool failed that a pass ran; the message has the first line of the tool's own."""


class AuxiliaryOperationError(ModelExportError):
    """Placing an auxiliary operator failed in an export: the pass that places what no other could crashed."""

    exit_code = 3


class ContextInheritanceError(ModelExportError):
    """The pass context-inheritance crashed in an export."""

    exit_code = 3


class AuxiliaryOperationCrash(PassError, AuxiliaryOperationError):
    """The crash of fallback-tagging, as exports tell of it."""


class ContextInheritanceCrash(PassError, ContextInheritanceError):
    """The crash of context-inheritance, as exports tell of it."""


class CoverageValidationError(ModelExportError):
    """Coverage, fallback share or confidence is outside the asked bounds. ``offending`` names the nodes."""

    exit_code = 1

    def __init__(self, message: str, offending: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.offending = offending


class ExportError(ModelExportError):
    """The export failed. ``report`` is the unified exporter's report, where one was made."""

    def __init__(self, message: str, report: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.report = report


class ExportCrash(ExportError, PassError):
    """A pass crashed under every strategy of an export; ``report`` and ``pass_name`` are as of both."""

    exit_code = 3

    def __init__(self, message: str, report: dict[str, object] | None, crash: PassError) -> None:
        PassError.__init__(self, message, crash.pass_name, crash.done, crash.node)
        self.report = report


class ContextInheritanceExportCrash(ExportCrash, ContextInheritanceError):
    """The crash of context-inheritance under every strategy."""


class AuxiliaryOperationExportCrash(ExportCrash, AuxiliaryOperationError):
    """The crash of fallback-tagging under every strategy."""


def every_strategy_failed(failures: Mapping[str, ModelExportError], report: dict[str, object]) -> ExportError:
    """The error of an export whose strategies all failed; one that tells of the pass where that is what crashed.

    Args:
        failures: by strategy, in the order in which they were tried.
    """
    message = f"every strategy failed: {'; '.join(f'{name}: {error}' for name, error in failures.items())}"
    crashes = [error for error in failures.values() if isinstance(error, PassError)]
    if not failures or len(crashes) < len(failures):
        return ExportError(message, report)
    kind = ExportCrash
    if isinstance(crashes[-1], ContextInheritanceError):
        kind = ContextInheritanceExportCrash
    elif isinstance(crashes[-1], AuxiliaryOperationError):
        kind = AuxiliaryOperationExportCrash
    return kind(message, report, crashes[-1])


class MemoryLimitExceeded(ModelExportError):
    """The process uses more resident memory than MODELEXPORT_MEMORY_LIMIT_MB allows; nothing was written."""


class TaggingError(ModelExportError):
    """An export that somebody else started could not be tagged, in a strict ``tagging()`` block."""

    exit_code = 1


class TaggingWarning(UserWarning):
    """An export that somebody else started was left plain."""


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word that is most like ``word``, or ``""`` where none has the share ``cutoff`` of letters in common."""
    import difflib

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return found[0] if found else ""
