"""What the command ``graphnn`` runs: finds the command asked for, and words what went wrong.

A command is a module with two functions: ``add_to(commands)`` says what it is called and which
arguments it takes, and sets ``run``, which does the work and returns the exit status.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from graphnn._version import __version__
from graphnn.cli import info, render
from graphnn.core.errors import GraphnnError

__all__ = ["COMMANDS", "main"]

COMMANDS = (info, render)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit status: 0 if all went well, 1 if what was asked for cannot be done. Arguments
        that nobody understands end the process with 2, as is usual.

    Examples
    --------
    >>> from graphnn.cli.main import main
    >>> main(["render", "missing.py"])
    1
    """
    parser = ArgumentParser(
        prog="graphnn",
        description="Automatic differentiation on graphs, with static compilation.",
    )
    parser.add_argument("--version", action="version", version=f"graphnn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    chosen = parser.parse_args(arguments)
    try:
        status: int = chosen.run(chosen)
    except GraphnnError as error:
        print(f"graphnn: {error}", file=sys.stderr)
        return 1
    return status
