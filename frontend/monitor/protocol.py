"""What an export asks of a monitor."""

from __future__ import annotations

from typing import Any, Protocol

from modelexport.frontend.monitor.data import HTPExportStep


class Monitor(Protocol):
    """What an export needs of a monitor; ``HTPExportMonitor`` is one."""

    def log_step(self, step: HTPExportStep, data: Any = None, **fields: Any) -> None:
        """``step`` is done; ``fields`` are known since."""

    def log_error(self, step: HTPExportStep, message: str) -> None:
        """``step`` failed."""
