"""Values of named parameters, set together: all of them, or none if something does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from graphnn.core.arrays import require_fit
from graphnn.core.errors import CheckpointError, DTypeError
from graphnn.core.spec import shape_text
from graphnn.core.state import Parameter

__all__ = ["Unmatched", "require_entries", "set_values"]


class Unmatched(NamedTuple):
    """Names that were passed over when values were set."""

    missing: list[str]
    unexpected: list[str]


def require_entries(what: str, own: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Check that a state has the entries of one's own, each of the same kind.

    Numbers are of one kind whether whole or not; arrays of one shape.

    Raises
    ------
    CheckpointError
        Lists all names that are missing, unexpected, or of another kind.
    """
    lines = [f"missing: {name}" for name in own if name not in state]
    lines += [f"unexpected: {name}" for name in state if name not in own]
    lines += [
        f"{name}: {_kind(state[name])}, not {_kind(value)}"
        for name, value in own.items()
        if name in state and _kind(state[name]) != _kind(value)
    ]
    if lines:
        raise CheckpointError(_listed(what, lines))


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array {shape_text(value.shape)}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def _listed(what: str, lines: Iterable[str]) -> str:
    return "\n  ".join([f"the state does not fit this {what}", *lines])


def set_values(
    what: str, own: Mapping[str, Parameter], state: Mapping[str, Any], strict: bool = True
) -> Unmatched:
    """Set parameters to the values that a state has under their names.

    Parameters
    ----------
    what : str
        Whose state it is, for the error.
    own : mapping of str to Parameter
    state, strict
        See :meth:`graphnn.nn.Module.load_state_dict`, as for what is returned and raised.
    """
    unmatched = Unmatched(
        [name for name in own if name not in state], [name for name in state if name not in own]
    )
    values = {name: np.asarray(state[name]) for name in own if name in state}
    wrong = [
        f"{name}: {problem}"
        for name, value in values.items()
        if (problem := _misfit(value, own[name]))
    ]
    lines = [f"missing: {name}" for name in unmatched.missing] if strict else []
    lines += [f"unexpected: {name}" for name in unmatched.unexpected] if strict else []
    if lines or wrong:
        raise CheckpointError(
            _listed(what, [*lines, *wrong]),
            hint=None
            if wrong
            else "was it saved with other layers or options? "
            "A module's load_state_dict(strict=False) passes over names that differ",
        )
    for name, value in values.items():
        own[name].value = value
    return unmatched


def _misfit(value: np.ndarray[Any, Any], own: Parameter) -> str:
    """Why a value cannot be that of a parameter; empty if it can."""
    if value.shape != own.array.shape or not np.can_cast(value.dtype, own.dtype, "same_kind"):
        return (
            f"{shape_text(value.shape)} {value.dtype.name} does not fit "
            f"{shape_text(own.array.shape)} {own.dtype.name}"
        )
    try:
        require_fit(value, own.dtype)
    except DTypeError as error:
        return error.what
    return ""
