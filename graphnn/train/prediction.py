"""Predictions for a whole data set, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphnn.core.arrays import to_host
from graphnn.core.errors import ShapeError
from graphnn.core.structure import flatten, unflatten
from graphnn.train.loop import Batch
from graphnn.train.progress import Progress

__all__ = ["predict"]


def predict(program: Callable[..., Any], batches: Iterable[Batch], *, verbose: int = 1) -> Any:
    """The outputs of a program for all batches, joined along their first axis.

    Parameters
    ----------
    program : callable
        From a batch's arrays to an array, or a nested structure of arrays, whose first axes are
        that of the batch.
    batches : iterable of tuple of array
    verbose : int, default 1
        0 for no progress bar. There is none either where stderr is not a terminal.

    Returns
    -------
    The structure that the program gives, of NumPy arrays.

    Raises
    ------
    ShapeError
        If there are no batches.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> data = gn.data.Batches(np.arange(5.0), batch_size=2)
    >>> gn.train.predict(lambda x: x * 2, data)
    array([0., 2., 4., 6., 8.])
    """
    outputs: list[list[Any]] = []
    form: Any = None
    with Progress(batches, 1, (0, 0), verbose) as bar:
        for batch in batches:
            form = program(*batch)
            outputs.append(flatten(to_host(form)))
            bar.step()
    if not outputs:
        raise ShapeError(
            "predict: there are no batches",
            hint="a generator is used up after one epoch; use gn.data.Batches or a list",
        )
    joined = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    return unflatten(form, joined)
