"""The events in a profile that onnxruntime wrote, one at a time.

Source of the format: onnxruntime/core/common/profiler.cc; one event per line between ``[`` and ``]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelexport.ir.errors import InputError
from modelexport.ir.text import shown

_INLINED = "_inlfunc_SequenceMap_"  # before the names of a SequenceMap's body, which becomes that of a Loop
_SUFFIXES = ("_kernel_time", "_fence_before", "_fence_after")


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Every event of a profile; a file that isn't written line by line is read as a whole.

    Raises:
        InputError: the file can't be read, or is no list of events.
    """
    label = shown(str(path))
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as stream:
            first = stream.readline()
            if first.strip() != "[":
                stream.seek(0)
                yield from _events(json.load(stream), label)
                return
            last: str | None = None
            for line in stream:
                text = line.strip().rstrip(",")
                if text == "]":
                    return
                if not text:
                    continue
                if not text.startswith("{") or not text.endswith("}"):
                    last = text  # of several lines, or cut short
                    break
                try:
                    event = json.loads(text)
                except ValueError:
                    last = text
                    break
                yield from _events([event], label)
            else:
                return
            rest = last + stream.read()
            if rest.rstrip().endswith("]"):
                raise InputError(f"{label}: not a list of events, one a line")
    except OSError as error:
        raise InputError(f"{label}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{label}: not JSON: {error}") from error


def _events(data: Any, label: str) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict) and isinstance(data.get("traceEvents"), list):
        data = data["traceEvents"]
    if not isinstance(data, list) or not all(isinstance(event, dict) for event in data):
        raise InputError(f"{label}: not a list of events")
    yield from data


def name_in_body(name: str) -> str:
    """A kernel's name as the node of a SequenceMap's body is called, at any depth; any other name as it is."""
    while name.startswith(_INLINED):
        name = name[len(_INLINED) :]
    return name


def kernel_name(event: dict[str, Any]) -> str | None:
    """The node that an event timed; None for an event that is no kernel's."""
    name = event.get("name")
    if event.get("cat") != "Node" or not isinstance(name, str):
        return None
    if name.endswith(_SUFFIXES[0]):
        return name[: -len(_SUFFIXES[0])]
    return None if name.endswith(_SUFFIXES[1:]) else name
