"""What is told of an export that somebody else started."""

from __future__ import annotations

from dataclasses import dataclass, field

MEMORY, STREAM = "<memory>", "<stream>"


@dataclass(slots=True)
class Export:
    """One export.

    Attributes:
        path: the file as torch was given it; None where it was none.
        exporter: ``"torchscript"`` or ``"dynamo"``.
        model: class name of the object that was exported.
        nodes: number of nodes in the graph, at every depth; 0 where it was not tagged.
        by_source: tagged nodes by source, the strongest first.
        tagged: whether the file, or the program that torch returned, carries tags.
        error: why it does not, or what else failed; None where all went well.
        where: the path, or what stands for it in messages.
        trace: traceback of what failed.
    """

    path: str | None = None
    exporter: str = ""
    model: str = ""
    nodes: int = 0
    by_source: dict[str, int] = field(default_factory=dict)
    tagged: bool = False
    error: str | None = None
    where: str = field(default=MEMORY, repr=False)
    trace: str = field(default="", repr=False)

    def __str__(self) -> str:
        """One line, as ``modelexport run`` says it."""
        if not self.tagged:
            return f"{self.where}: not tagged: {self.error}"
        parts = [f"{self.nodes} nodes", *(f"{count} {source}" for source, count in self.by_source.items())]
        return f"{self.where}: {', '.join(parts)} ({self.exporter})"


def reason(error: BaseException) -> str:
    """What went wrong, in one line: errors of ours speak for themselves, of others the class is named too."""
    from modelexport.ir.errors import ModelExportError

    text = " ".join(str(error).split())[:500]
    if isinstance(error, ModelExportError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
