"""The way to a terminal, through Rich, which is imported only when there is a terminal to print to."""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from modelexport.frontend.monitor.text import STYLES, Line, plain, shown_in, trimmed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

MIN_WIDTH = 60
MAX_WIDTH = 120
"""Lines are not made wider on wide terminals: numbers would stand too far from their names."""


class PlainTerminal:
    """Writes lines as they are to stderr when that is a file or a pipe: no colour, no spinner, and no need of Rich."""

    def __init__(self) -> None:
        columns = os.environ.get("COLUMNS", "")
        self.width = max(MIN_WIDTH, min(int(columns) if columns.isdecimal() else 80, MAX_WIDTH))

    def write(self, lines: Sequence[Line]) -> None:
        """Print ``lines`` in one piece."""
        stream = sys.stderr
        if stream is None:  # a program without a console, as pythonw
            return
        stream.write("".join(f"{shown_in(plain(line), stream.encoding or 'utf-8')}\n" for line in lines))
        stream.flush()

    def spin(self, text: str) -> None:
        """Nothing turns where nobody looks."""

    def stop(self) -> None:
        """There is no spinner to stop."""


class RichTerminal:
    """Prints styled lines to a Rich console, and turns a spinner where that is a real terminal."""

    def __init__(self, console: Console, style_numbers: bool, spinner: bool) -> None:
        self.console = console
        self.width = max(MIN_WIDTH, min(console.width, MAX_WIDTH))
        self._styles = STYLES if style_numbers else {**STYLES, "number": ""}
        self._plain = not console.encoding.lower().startswith("utf")
        self._spinning = spinner and console.is_terminal and not console.is_dumb_terminal
        self._live: Live | None = None

    def write(self, lines: Sequence[Line]) -> None:
        """Print ``lines`` in one piece."""
        from rich.text import Text

        text = Text("\n").join(self._text(line) for line in lines)
        self.console.print(text, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def _text(self, line: Line) -> Text:
        from rich.text import Text

        encoding = self.console.encoding
        result = Text()
        for text, style in trimmed(line):
            result.append(shown_in(text, encoding), style=self._styles[style] or None)
        return result

    def spin(self, text: str) -> None:
        """Turn a spinner with ``text`` until ``stop``; does nothing when the output is no terminal."""
        if not self._spinning:
            return
        from rich.errors import LiveError
        from rich.live import Live
        from rich.spinner import Spinner

        self.stop()
        spinner = Spinner("line" if self._plain else "dots", style="green")
        frame = _Frame(spinner, text)
        live = Live(
            console=self.console,
            get_renderable=frame,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        try:
            live.start()
        except LiveError:  # the caller of a passed console has a display of its own on it
            self._spinning = False
            return
        self._live = live
        # A monitor that is dropped in the middle of an export must not leave the cursor hidden.
        self._stop_at_exit = weakref.finalize(self, live.stop)

    def stop(self) -> None:
        """Take the spinner away."""
        if self._live is not None:
            self._stop_at_exit.detach()
            self._live.stop()
            self._live = None


Terminal: TypeAlias = PlainTerminal | RichTerminal


def open_terminal(console: Console | None, style_numbers: bool, spinner: bool) -> Terminal:
    """Where a monitor prints: the console it was given, else stderr."""
    if console is None:
        forced = any(os.environ.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))
        if not forced and (sys.stderr is None or not sys.stderr.isatty()):
            return PlainTerminal()
        from rich.console import Console

        console = Console(stderr=True)
    return RichTerminal(console, style_numbers, spinner)


class _Frame:
    """What the spinner shows: its text and the seconds since it began."""

    def __init__(self, spinner: Spinner, text: str) -> None:
        self._spinner = spinner
        self._text = text
        self._began = time.monotonic()

    def __call__(self) -> Spinner:
        waited = int(time.monotonic() - self._began)
        self._spinner.update(text=f"{self._text} {waited} s" if waited else self._text)
        return self._spinner
