"""The Hopfield network: a recurrent net whose states roll down an energy into stored patterns."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.compiler.batching import vmap
from graphnn.compiler.compilation import evaluate
from graphnn.core.arguments import require_positive
from graphnn.core.arrays import as_array
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import shape_text
from graphnn.core.state import parameter
from graphnn.nn.module import Module
from graphnn.ops.arithmetic import where
from graphnn.ops.broadcasting import reshape, sum
from graphnn.ops.creation import arange, eye
from graphnn.ops.indexing import take
from graphnn.ops.logic import equal, greater, less
from graphnn.ops.movement import expand_dims
from graphnn.ops.operands import as_node, cast_to
from graphnn.ops.products import matmul
from graphnn.ops.random import permutation
from graphnn.ops.scans import scan
from graphnn.ops.streams import as_key, split

__all__ = ["Hopfield", "hebbian", "update_order"]


def hebbian(patterns: Any) -> Node:
    """The weights by which patterns are stored: ``w_ij = 1/n sum_p p_i p_j``, and ``w_ii = 0``.

    Units that agree in most patterns pull each other the same way. Source: J. Hopfield, Neural
    networks and physical systems with emergent collective computational abilities (1982).

    Parameters
    ----------
    patterns : array_like or Node
        Of shape (n, units), of -1 and 1.

    Returns
    -------
    Node
        Of shape (units, units), symmetric.

    Raises
    ------
    ShapeError
        If the patterns are not rows of a matrix, or there are none.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.nn.hebbian([[1.0, 1.0, -1.0], [1.0, 1.0, 1.0]]))
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    x = as_node(patterns)
    if x.ndim != 2 or x.shape[0] == 0:
        raise ShapeError(
            f"hebbian: patterns must be (n, units) with n of at least 1, not {shape_text(x.shape)}",
            hint="give one pattern as [pattern]" if x.ndim == 1 else None,
        )
    agreement = matmul(x.T, x)
    others = 1.0 - eye(x.shape[1], dtype=x.dtype)
    return agreement * others / x.shape[0]


def update_order(units: int, sweeps: int, key: Node | None = None) -> Node:
    """The order in which units are updated: in every sweep each once, at random.

    Parameters
    ----------
    units, sweeps : int
    key : Node, optional
        Default: a fresh one from the default stream.

    Returns
    -------
    Node
        int64 of shape (sweeps * units,).

    Examples
    --------
    >>> import graphnn as gn
    >>> order = gn.evaluate(gn.nn.update_order(4, 2, gn.random.key(0)))
    >>> sorted(order[:4].tolist()), sorted(order[4:].tolist())
    ([0, 1, 2, 3], [0, 1, 2, 3])
    """
    keys = split(as_key("update_order", key), sweeps)
    sweep = vmap(lambda each: permutation(each, units))
    return reshape(sweep(keys), (sweeps * units,))


class Hopfield(Module):
    """An associative memory: from part of a pattern it recalls the whole.

    Units are -1 or 1. One after the other, in random order, each takes the side that the others
    pull it to: ``s_i = sign(sum_j w_ij s_j - theta_i)``, and stays as it is where the sum is 0.
    With symmetric weights and a diagonal of zeros no such update raises the :meth:`energy`, so a
    state comes to rest; about ``0.14 * units`` random patterns are at rest near themselves.

    Parameters
    ----------
    units : int
    thresholds : array_like, optional
        ``theta``, of shape (units,). Default: zeros.
    dtype : optional
        Default float32.

    Attributes
    ----------
    weight : Parameter of shape (units, units)
        Zeros at first; see :meth:`learn`. No optimizer trains it: the sign has no derivative.
    threshold : Parameter of shape (units,)

    Raises
    ------
    ArgumentError
        If there are no units.
    ShapeError
        If the thresholds have another shape.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> net = gn.nn.Hopfield(6)
    >>> net.learn([[1, 1, 1, -1, -1, -1], [1, -1, 1, -1, 1, -1]])
    >>> state = gn.input("state", shape=("batch", 6))
    >>> recall = gn.compile(state, net.recall(state, key=gn.random.key(0)))
    >>> recall(np.array([[1, 1, 1, 1, -1, -1]], "float32"))
    array([[ 1.,  1.,  1., -1., -1., -1.]], dtype=float32)
    """

    def __init__(self, units: int, *, thresholds: Any = None, dtype: DTypeLike = FLOAT32) -> None:
        require_positive("Hopfield", units=units)
        theta = np.zeros(units) if thresholds is None else as_array(thresholds)
        if theta.shape != (units,):
            raise ShapeError(
                f"Hopfield: thresholds of shape {shape_text(theta.shape)} for {units} units"
            )
        self.weight = parameter(np.zeros((units, units)), dtype=dtype, trainable=False)
        self.threshold = parameter(theta, dtype=dtype, trainable=False)

    @property
    def units(self) -> int:
        """Number of units."""
        return int(self.threshold.shape[0])

    def learn(self, patterns: Any) -> None:
        """Store patterns in place of those that were stored, by :func:`hebbian`.

        Parameters
        ----------
        patterns : array_like
            Of shape (n, units), of -1 and 1.

        Raises
        ------
        ShapeError
            If they do not fit the units.
        ArgumentError
            If a number is neither -1 nor 1.
        """
        array = as_array(patterns)
        if array.ndim != 2 or array.shape[1] != self.units:
            raise ShapeError(
                f"{self!r}: patterns must be (n, {self.units}), not {shape_text(array.shape)}"
            )
        self._require_signs("patterns", array)
        self.weight.value = evaluate(hebbian(array.astype(self.weight.dtype)))

    def recall(self, state: Any, sweeps: int = 5, *, key: Node | None = None) -> Node:
        """Let states come to rest; this is what calling the network does.

        Parameters
        ----------
        state : Node or array_like
            Of shape (..., units), of -1 and 1. All states of a batch are updated in the same order.
        sweeps : int, default 5
            How often every unit is updated.
        key : Node, optional
            For the order, see :func:`update_order`. Default: another one at every call.

        Returns
        -------
        Node
            As the state.

        Raises
        ------
        ShapeError
            If the state does not fit the units.
        ArgumentError
            If ``sweeps`` is not a positive integer, or a number of a state that is known is
            neither -1 nor 1. What a program is fed with is not looked at.
        """
        last: Node = self(state, sweeps, key=key)
        return last

    def forward(self, state: Any, sweeps: int = 5, *, key: Node | None = None) -> Node:
        """See :meth:`recall`."""
        require_positive("Hopfield", sweeps=sweeps)
        given = as_node(state)
        if given.op.name == "constant":
            self._require_signs("states", given.attrs["value"].array)
        first = self._checked(given)
        units = arange(self.units)

        def update(state: Node, unit: Node) -> tuple[Node, None]:
            pull = sum(state * take(self.weight, unit, 0), -1) - take(self.threshold, unit)
            pull = expand_dims(pull, -1)
            turned = where(greater(pull, 0.0), 1.0, where(less(pull, 0.0), -1.0, state))
            return where(equal(units, unit), turned, state), None

        last: Node
        last, _ = scan(update, first, update_order(self.units, sweeps, key))
        return last

    def energy(self, state: Any) -> Node:
        """``-1/2 sum_ij w_ij s_i s_j + sum_i theta_i s_i``, which no update raises.

        Parameters
        ----------
        state : Node or array_like
            Of shape (..., units).

        Returns
        -------
        Node
            Of shape (...).
        """
        state = self._checked(state)
        return sum(state * (self.threshold - 0.5 * matmul(state, self.weight)), -1)

    def _require_signs(self, word: str, array: Array) -> None:
        wrong = array[np.abs(array) != 1]
        if wrong.size:
            raise ArgumentError(
                f"{self!r}: {word} consist of -1 and 1, and {wrong.flat[0]} is neither",
                hint="of bits, 2 * bits - 1; of pixels, np.where(pixels > 0.5, 1, -1)",
            )

    def _checked(self, state: Any) -> Node:
        node = as_node(state)
        if node.ndim == 0 or node.shape[-1] != self.units:
            raise ShapeError(
                f"{self!r}: a state must be (..., {self.units}), not {shape_text(node.shape)}"
            )
        return cast_to(node, self.weight.dtype)

    def extra_repr(self) -> str:
        """The number of units."""
        return str(self.units)
