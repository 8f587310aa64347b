"""The way to a terminal, through Rich, which is imported only when there is a terminal to print to."""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from modelexport.frontend.monitor.screen.text import STYLES, Line, plain, shown_in, trimmed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

SPINNER_DELAY = 0.2
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
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

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
        """Turn a spinner with ``text`` from a moment later until ``stop``, where the output is a terminal."""
        if not self._spinning:
            return
        self.stop()
        # A short step needs no spinner, and starting one costs more than all else that is printed in it.
        timer = threading.Timer(SPINNER_DELAY, _turn, (weakref.ref(self), _Frame(text, self._plain)))
        timer.daemon = True
        self._timer = timer
        timer.start()

    def turn(self, timer: threading.Thread, frame: _Frame) -> None:
        """Show the spinner now, unless its step is over."""
        from rich.errors import LiveError
        from rich.live import Live

        with self._lock:
            if self._timer is not timer:
                return
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
            except (LiveError, OSError, ValueError):  # the console has a display of its own, or was closed
                self._spinning = False
                return
            self._live = live
            # A monitor that is dropped in the middle of an export must not leave the cursor hidden.
            self._stop_at_exit = weakref.finalize(self, live.stop)

    def stop(self) -> None:
        """Take the spinner away."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
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
    """What the spinner shows: its text and the seconds since its step began."""

    def __init__(self, text: str, plain: bool) -> None:
        self._text = text
        self._frames = "|/-\\" if plain else "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
        self._turns = 0
        self._began = time.monotonic()

    def __call__(self) -> Text:
        from rich.text import Text

        self._turns += 1
        waited = int(time.monotonic() - self._began)
        shown = Text(self._frames[self._turns % len(self._frames)], "green")
        return shown.append(f" {self._text} {waited} s" if waited else f" {self._text}", "default")


def _turn(terminal: weakref.ref[RichTerminal], frame: _Frame) -> None:
    found = terminal()
    if found is not None:
        found.turn(threading.current_thread(), frame)
