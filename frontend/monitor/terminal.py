"""The way to a terminal, through Rich; imported only when something is to be printed."""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelexport.frontend.monitor.text import STYLES, Line, ascii_only, trimmed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

MIN_WIDTH = 60
MAX_WIDTH = 120
"""Lines are not made wider on wide terminals: numbers would stand too far from their names."""


class Terminal:
    """Prints styled lines to a Rich console (stderr unless one is given), and turns a spinner on a real terminal."""

    def __init__(self, console: Console | None, style_numbers: bool, spinner: bool) -> None:
        if console is None:
            from rich.console import Console

            console = Console(stderr=True)
        self.console = console
        self.width = max(MIN_WIDTH, min(console.width, MAX_WIDTH))
        self._styles = STYLES if style_numbers else {**STYLES, "number": ""}
        self._plain = not console.encoding.lower().startswith("utf")
        self._spinning = spinner and console.is_terminal and not console.is_dumb_terminal
        self._live: Live | None = None

    def write(self, lines: Sequence[Line], batch: bool) -> None:
        """Print ``lines``, as one piece or line by line."""
        from rich.text import Text

        texts = [self._text(line) for line in lines]
        for text in [Text("\n").join(texts)] if batch and texts else texts:
            self.console.print(text, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def _text(self, line: Line) -> Text:
        from rich.text import Text

        encoding = self.console.encoding
        result = Text()
        for text, style in trimmed(line):
            if self._plain:
                text = ascii_only(text).encode(encoding, "backslashreplace").decode(encoding)
            result.append(text, style=self._styles[style] or None)
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
