"""A Python under ``modelexport run``: it has its exports tagged and tells the run of them.

Imported when the interpreter starts; the settings are read when torch's exporters are imported.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from modelexport.frontend.interception import exporters

if TYPE_CHECKING:
    from modelexport.frontend.clients.session import Settings
    from modelexport.frontend.interception.record import Export
    from modelexport.ir.model import Model
    from modelexport.passes.pipeline.text import Pipeline


class Child:
    """The client that stands for the run in this process, and in those that it forks."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._settings: Settings | None = None
        self._pipeline: Pipeline | None = None

    @property
    def settings(self) -> Settings:
        """What the run asks for."""
        if self._settings is None:
            from modelexport.frontend.clients.session import Session

            self._settings = Session(self._folder).settings()
        return self._settings

    @property
    def pipeline(self) -> Pipeline:
        """The passes that tag."""
        if self._pipeline is None:
            from modelexport.frontend.clients.plans import read_pipeline

            self._pipeline = read_pipeline(self.settings.pipeline)
        return self._pipeline

    def covers(self) -> bool:
        """Every export is the run's business, as long as there is a run."""
        return os.path.isdir(self._folder)

    def ended(self, record: Export, graph: Model | None) -> None:
        """Write what was asked for and tell the run."""
        from modelexport.frontend.clients.records import tell_run

        try:
            tell_run(self._folder, self.settings, record, graph, self.pipeline if graph is not None else None)
        except Exception as error:  # noqa: BLE001 - the program goes on as without us; it is told here and now
            sys.stderr.write(f"modelexport: {record}; the run can't be told: {error}\n")


def begin(folder: str) -> None:
    """Let the run whose session folder this is have its exports tagged here."""
    if folder:
        exporters.enter(Child(folder))
