"""Standard output and error as they are found: a full disk, a pipe, a terminal."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def say_full(error: OSError) -> None:
    """Say in one line that there is no room for the output; any other error is raised again.

    What is still buffered for standard output goes nowhere, or Python would fail once more at its end.
    """
    if error.errno not in FULL:
        raise error
    typer.echo(f"{error.filename or 'the output'}: cannot be written: {error.strerror}", err=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def bar_console() -> Console:
    """Where progress is drawn: standard error if it is a terminal, else nowhere (rich would end with an empty line)."""
    from rich.console import Console

    return Console(stderr=True, quiet=not sys.stderr.isatty())
