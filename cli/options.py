"""Options that all subcommands share, and how much they talk on stderr."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from modelexport.cli.console import listen, say

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(slots=True)
class Talk:
    """How much is said on stderr. Set by options before or after the subcommand; either place counts."""

    verbose: bool = False
    debug: bool = False

    def say(self, message: str) -> None:
        """Progress of a long step: one line on stderr, on a terminal or when asked for."""
        if self.verbose or self.debug or sys.stderr.isatty():
            say(message)

    def listen(self, context: click.Context) -> None:
        """Let the library's log go to stderr until the command ends."""
        listen(context, logging.DEBUG if self.debug else logging.INFO)

    @contextmanager
    def around_model_code(self) -> Iterator[None]:
        """What a model or torch prints is talk; Python's warnings are for those who debug it."""
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            if self.debug:
                yield
                return
            warnings.simplefilter("ignore")
            with _torch_silenced():
                yield


@contextmanager
def _torch_silenced() -> Iterator[None]:
    """Keep torch's own log off stderr: what it tells of a failure is raised too."""
    loggers = [logger for name, logger in logging.root.manager.loggerDict.items() if name.partition(".")[0] == "torch"]
    handlers = [handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers]
    for handler in handlers:
        handler.addFilter(_refuse)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_refuse)


def _refuse(record: logging.LogRecord) -> bool:
    return False


def talk_options(function: _Function) -> _Function:
    """``-v/--verbose`` and ``--debug``; read them with :func:`talk`."""
    debug = click.option(
        "--debug", is_flag=True, expose_value=False, callback=_remember, help="Also tracebacks and the debug log."
    )
    verbose = click.option(
        "-v", "--verbose", is_flag=True, expose_value=False, callback=_remember, help="Say on stderr what is done."
    )
    return verbose(debug(function))


def format_option(*formats: str) -> Callable[[_Function], _Function]:
    """``--format`` with these choices, the first the default."""
    return click.option(
        "--format", "fmt", type=click.Choice(formats), default=formats[0], show_default=True, help="Form of the output."
    )


def talk() -> Talk:
    """The talk settings of the running command."""
    context = click.get_current_context(silent=True)
    found = context.find_object(Talk) if context is not None else None
    return found if found is not None else Talk()


def _remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    root = context.find_root()
    state = root.ensure_object(Talk)
    if value:
        setattr(state, str(parameter.name), True)
        state.listen(root)
