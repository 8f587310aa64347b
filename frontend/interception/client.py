"""Who wants exports tagged, and a function of torch's that runs once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from modelexport.frontend.interception.record import Export
    from modelexport.ir.model import Model
    from modelexport.passes.pipeline.text import Pipeline


class Client(Protocol):
    """Somebody who wants exports tagged. It is asked and told in the thread that exports."""

    @property
    def pipeline(self) -> Pipeline:
        """The passes that tag, parsed. Of several clients the one that came last decides."""

    def covers(self) -> bool:
        """Whether exports that begin now, in this process and thread, are its business."""

    def ended(self, record: Export, graph: Model | None) -> None:
        """An export has ended and its file is written; ``graph`` is None where it was not tagged."""


class Once:
    """A function of torch's that is to run once, and what came of it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.called = False
        self.result: Any = None
        self.error: BaseException | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.called = True
        try:
            self.result = self._function(*args, **kwargs)
        except BaseException as error:
            self.error = error
            raise
        return self.result
