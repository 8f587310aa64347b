"""What an error of torch or of a model says, in one line."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """First non-empty line of an error's message, cut to a readable length; else the error's class."""
    lines = (line.strip() for line in str(error).splitlines())
    line = next((line for line in lines if line), "")
    return f"{type(error).__name__}: {line[:300]}" if line else type(error).__name__
