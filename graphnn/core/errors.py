"""The errors a user may see: one root, a few kinds, and one way to word them.

Every message says what differs, where in the user's code, and what to do about it.
Anything in graphnn may raise these.
"""

from __future__ import annotations

from graphnn.core.source import caller

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "DTypeError",
    "DeviceError",
    "FeedError",
    "GradientError",
    "GraphnnError",
    "MissingPackageError",
    "NonFiniteError",
    "RenderError",
    "ShapeError",
    "SymbolicError",
    "UnsupportedOpError",
    "VerifyError",
]


class GraphnnError(Exception):
    """Root of all errors raised by graphnn.

    Parameters
    ----------
    what : str
        What differs, with the numbers that differ.
    hint : str, optional
        What to do about it.
    where : str, optional
        The user's line (``"mlp.py:31"``). By default the innermost line outside graphnn that
        led to the error; pass ``""`` for none.
    """

    def __init__(self, what: str, *, hint: str | None = None, where: str | None = None) -> None:
        if where is None:
            line = caller()
            where = f"built at {line}" if line is not None else ""
        message = what
        if where:
            message += f"\n  {where}"
        if hint:
            message += f"\n  hint: {hint}"
        super().__init__(message)
        self.what = what
        self.hint = hint
        self.where = where


class ShapeError(GraphnnError, ValueError):
    """Shapes, axes or sizes do not fit together."""


class DTypeError(GraphnnError, TypeError):
    """A dtype is not supported here, or two dtypes have no common one."""


class ArgumentError(GraphnnError, ValueError):
    """A number or an option is not one of those that are allowed."""


class UnsupportedOpError(GraphnnError, NotImplementedError):
    """The operator, or one of its derivatives, does not exist in this form."""


class GradientError(GraphnnError, ValueError):
    """A derivative was asked for that does not exist: of a non-scalar, or of what is not used."""


class SymbolicError(GraphnnError, TypeError):
    """Python asked a node for its value, which is not known while the graph is built."""


class FeedError(GraphnnError, ValueError):
    """The arrays given to a program do not fit its inputs."""


class NonFiniteError(GraphnnError, FloatingPointError):
    """A NaN or infinity appeared in a program that was asked to stop at the first one."""


class CheckpointError(GraphnnError, ValueError):
    """Saved values are damaged, or do not fit the model they are loaded into."""


class MissingPackageError(GraphnnError, ImportError):
    """A package that this function needs, one of graphnn's extras, is not installed."""


class DeviceError(GraphnnError, RuntimeError):
    """There is no GPU that programs could run on, or it has too little memory."""


class RenderError(GraphnnError, RuntimeError):
    """A picture cannot be drawn or written."""


class VerifyError(GraphnnError, AssertionError):
    """The compiler broke its own rules: a bug in graphnn, with the pass that made it."""
