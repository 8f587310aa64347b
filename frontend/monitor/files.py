"""Text files that appear whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from modelexport.ir.io.atomic import atomic_output

METADATA = "_htp_metadata.json"
REPORT = "_htp_export_report.txt"
CONSOLE_LOG = "_htp_console.log"


@contextmanager
def text_output(path: Path) -> Iterator[TextIO]:
    """A UTF-8 stream that becomes ``path`` when the block ends well. Raises OutputError when it can't be written."""
    # Not synced: waiting for the disk would be most of what a monitor costs, and these files only tell of an export.
    with atomic_output(path, durable=False) as raw:
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="\n")
        try:
            yield stream
        finally:
            stream.detach()
