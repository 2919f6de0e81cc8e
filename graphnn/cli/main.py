"""What the command ``graphnn`` runs: finds the command asked for, and words what went wrong.

A command is a module with two functions: ``add_to(commands)`` says what it is called and which
arguments it takes, and sets ``run``, which does the work and returns the exit status.
"""

from __future__ import annotations

import os
import sys
import warnings
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import TextIO

from graphnn._version import __version__
from graphnn.cli import bench, demo, info, predict, render, train
from graphnn.cli.train import INTERRUPTED
from graphnn.core.errors import GraphnnError
from graphnn.core.source import caller

__all__ = ["COMMANDS", "main"]

COMMANDS = (demo, train, predict, render, bench, info)

EPILOG = """\
`graphnn COMMAND --help` explains a command, with examples.

exit status:
  0    all went well
  1    it cannot be done, or a target was missed; standard error says why
  2    the arguments are not understood
  130  Ctrl-C; training that was stopped so can go on
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit status: 0 if all went well, 1 if what was asked for cannot be done, 130 after
        Ctrl-C. Arguments that nobody understands end the process with 2, as is usual.

    Examples
    --------
    >>> from graphnn.cli.main import main
    >>> main(["render", "missing.py"])
    1
    """
    chosen = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show
            status: int = chosen.run(chosen)
        sys.stdout.flush()
    except GraphnnError as error:
        # Which line called this tells nobody anything; that of a script which is drawn does.
        told = str(error).replace(f"\n  built at {caller()}", "")
        print(f"graphnn: {told}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever reads has seen enough, such as `head`. Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"graphnn: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("graphnn: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status


def parser() -> ArgumentParser:
    """What understands the arguments of all commands."""
    made = ArgumentParser(
        prog="graphnn",
        description="Automatic differentiation on graphs, with static compilation.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"graphnn {__version__}")
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    return made


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning without the line of ours that it came from."""
    print(f"graphnn: warning: {message}", file=sys.stderr)
