"""The product of arrays summed over some axes: one primitive, ``dot_general``, for all of them.

Its familiar names are in :mod:`graphnn.ops.products`, its string notation in
:mod:`graphnn.ops.einstein`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import product
from graphnn.core.dtypes import FLOAT32, is_half
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, output_size, register
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.axes import normalize_axis
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.movement import inverse_permutation, moved_to_front, permute
from graphnn.ops.operands import operands

__all__ = ["dot_general"]

AxisPairs = tuple[tuple[int, ...], tuple[int, ...]]
"""Axes of the left operand, and those of the right one that belong to them, in order."""


class DotGeneralOp(LinearOp):
    """Products summed over ``contract`` axes, side by side along ``batch`` axes.

    Axes of the result: batch, those left over of the first operand, those of the second.
    """

    name = "dot_general"
    autocast = "half"
    instruction = "gemm"
    is_multilinear = True

    def infer(
        self, a: TensorSpec, b: TensorSpec, *, contract: AxisPairs, batch: AxisPairs
    ) -> TensorSpec:
        if a.dtype != b.dtype:
            raise DTypeError(f"dot_general: {a.dtype.name} and {b.dtype.name} do not mix")
        check_sizes("dot_general: contracted", a, b, contract)
        check_sizes("dot_general: batch", a, b, batch)
        batch_shape = tuple(a.shape[axis] for axis in batch[0])
        free_a = tuple(a.shape[axis] for axis in free_axes(a.ndim, contract[0], batch[0]))
        free_b = tuple(b.shape[axis] for axis in free_axes(b.ndim, contract[1], batch[1]))
        return TensorSpec(batch_shape + free_a + free_b, a.dtype)

    def evaluate(self, a: Array, b: Array, *, contract: AxisPairs, batch: AxisPairs) -> Array:
        shape = self.infer(
            TensorSpec(a.shape, a.dtype),
            TensorSpec(b.shape, b.dtype),
            contract=contract,
            batch=batch,
        ).shape
        out = np.empty(shape, a.dtype)
        self.evaluate_into(out, a, b, contract=contract, batch=batch)
        return out

    def evaluate_into(
        self, out: Array, a: Array, b: Array, *, contract: AxisPairs, batch: AxisPairs
    ) -> None:
        stored = out.dtype
        if is_half(stored):
            a, b = a.astype(FLOAT32), b.astype(FLOAT32)
        free_a = free_axes(a.ndim, contract[0], batch[0])
        free_b = free_axes(b.ndim, contract[1], batch[1])
        left = _as_matrices(a, batch[0], free_a, contract[0])
        right = _as_matrices(b, batch[1], contract[1], free_b)
        # One column times one row is a plain product, for which matmul is slow.
        kernel = np.multiply if left.shape[-1] == 1 else np.matmul
        shape = (*left.shape[:-1], right.shape[-1])
        if out.flags.c_contiguous and not is_half(stored):
            kernel(left, right, out=out.reshape(shape))
        else:
            out[...] = kernel(left, right).reshape(out.shape)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        a, b = node.inputs
        contract, batch = node.attrs["contract"], node.attrs["batch"]
        free_a = free_axes(a.ndim, contract[0], batch[0])
        free_b = free_axes(b.ndim, contract[1], batch[1])
        n_batch, end_of_a = len(batch[0]), len(batch[0]) + len(free_a)
        lead = tuple(range(n_batch))
        from_a = tuple(range(n_batch, end_of_a))
        from_b = tuple(range(end_of_a, cotangent.ndim))
        # The contracted axes of the result come in the order of the operand that stays.
        if index == 0:
            product_ = dot_of(cotangent, b, (from_b, free_b), (lead, batch[1]))
            order = sorted(range(len(contract[1])), key=contract[1].__getitem__)
            axes = (*batch[0], *free_a, *(contract[0][each] for each in order))
        else:
            product_ = dot_of(a, cotangent, (free_a, from_a), (batch[0], lead))
            order = sorted(range(len(contract[0])), key=contract[0].__getitem__)
            axes = (*batch[1], *(contract[1][each] for each in order), *free_b)
        return permute(product_, inverse_permutation(axes))

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        """Examples of both are one more batch axis, those of one operand a free axis of it."""
        a, b = inputs
        contract, batch = (_shifted(node.attrs[name], mapped) for name in ("contract", "batch"))
        if all(mapped):
            return dot_of(a, b, contract, ((0, *batch[0]), (0, *batch[1])))
        n_batch = len(batch[0])
        n_free = a.ndim - n_batch - len(contract[0])
        return moved_to_front(dot_of(a, b, contract, batch), n_batch + (0 if mapped[0] else n_free))

    def flops(self, node: Node) -> int:
        a = node.inputs[0]
        summed = product(a.shape[axis] for axis in node.attrs["contract"][0])
        return 2 * output_size(node) * int(summed)

    def label(self, node: Node) -> str:
        """``matmul`` if it is one behind leading batch axes.

        With BLAS's letters if an operand is read transposed: ``matmul_tn``, ``matmul_nt``.
        """
        a, b = node.inputs
        lead = tuple(range(len(node.attrs["batch"][0])))
        summed_a, summed_b = node.attrs["contract"]
        first = len(lead)
        rows = {(a.ndim - 1,): "n"}
        if a.ndim == first + 2:
            rows[(first,)] = "t"
        columns = {(first,): "n", (first + 1,): "t"} if b.ndim <= first + 2 else {}
        letters = rows.get(summed_a, "") + columns.get(summed_b, "")
        if node.attrs["batch"] != (lead, lead) or len(letters) != 2:
            return self.name
        return "matmul" if letters == "nn" else f"matmul_{letters}"

    def shown_attrs(self, node: Node) -> Mapping[str, Any]:
        """None for a ``matmul``: its name says it all."""
        return node.attrs if self.label(node) == self.name else {}


DOT_GENERAL = DotGeneralOp()
register(DOT_GENERAL)


def free_axes(ndim: int, contract: Sequence[int], batch: Sequence[int]) -> tuple[int, ...]:
    """The axes that are neither contracted nor batch axes, in order."""
    return tuple(axis for axis in range(ndim) if axis not in contract and axis not in batch)


def _shifted(pairs: AxisPairs, mapped: Sequence[bool]) -> AxisPairs:
    """Axes of both operands, counted with a leading axis of examples where there is one."""
    left, right = pairs
    return tuple(axis + mapped[0] for axis in left), tuple(axis + mapped[1] for axis in right)


def check_sizes(what: str, a: TensorSpec, b: TensorSpec, pairs: AxisPairs) -> None:
    for left, right in zip(*pairs, strict=True):
        if a.shape[left] != b.shape[right]:
            raise ShapeError(
                f"{what} sizes differ: axis {left} of {shape_text(a.shape)} and "
                f"axis {right} of {shape_text(b.shape)}, {a.shape[left]} != {b.shape[right]}"
            )


def _as_matrices(
    x: Array, batch: Sequence[int], rows: Sequence[int], columns: Sequence[int]
) -> Array:
    """Matrices whose rows and columns are groups of axes; one batch axis if there are any."""
    groups = ([batch] if batch else []) + [rows, columns]
    shape = [int(np.prod([x.shape[axis] for axis in group], dtype=np.int64)) for group in groups]
    return x.transpose([*batch, *rows, *columns]).reshape(shape)


def dot_of(a: Node, b: Node, contract: AxisPairs, batch: AxisPairs = ((), ())) -> Node:
    """:func:`dot_general` of nodes of one dtype and with axes that are known to be right."""
    return make_node(DOT_GENERAL, (a, b), {"contract": contract, "batch": batch})


# ------------------------------------------------------------------------------- what users call


def numbers(what: str, *values: Any) -> list[Node]:
    return operands(what, values, "ifc")


def axis_pairs(what: str, word: str, given: Any, a: Node, b: Node) -> AxisPairs:
    """Axes of both operands that belong together, non-negative."""
    left, right = (each if isinstance(each, tuple | list) else (each,) for each in given)
    if len(left) != len(right):
        raise ShapeError(
            f"{what}: {len(left)} {word} axes of the first operand, {len(right)} of the second",
            hint="they are paired in order: ((axes of a), (axes of b))",
        )
    axes_a = tuple(normalize_axis(what, axis, a.ndim) for axis in left)
    axes_b = tuple(normalize_axis(what, axis, b.ndim) for axis in right)
    for axes in (axes_a, axes_b):
        if len(set(axes)) != len(axes):
            raise ShapeError(f"{what}: a {word} axis is given twice in {axes}")
    return axes_a, axes_b


def _dot_general(a: Any, b: Any, *, contract: Any, batch: Any = ((), ())) -> Any:
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    names_a, names_b = ([next(letters) for _ in np.shape(each)] for each in (a, b))
    for left, right in [*zip(*contract, strict=True), *zip(*batch, strict=True)]:
        names_b[right] = names_a[left]
    summed = {names_a[axis] for axis in contract[0]}
    lead = [names_a[axis] for axis in batch[0]]
    rest = [name for name in names_a + names_b if name not in summed and name not in lead]
    return np.einsum(f"{''.join(names_a)},{''.join(names_b)}->{''.join(lead + rest)}", a, b)


@operation(
    reference=_dot_general,
    samples=[
        Sample(Arg((2, 3)), Arg((3, 4)), contract=((1,), (0,))),
        Sample(Arg((3, 2)), Arg((4, 3)), contract=((0,), (1,))),
        Sample(Arg((2, 3, 4)), Arg((4, 2, 5, 3)), contract=((1, 2), (3, 0)), batch=((0,), (1,))),
        Sample(Arg((2, 3, 2)), Arg((2, 2, 4)), contract=((), ()), batch=((2, 0), (0, 1))),
        Sample(Arg((2, 3, 4)), Arg((4, 2)), contract=((0, -1), (-1, 0))),
        Sample(Arg((3,)), Arg((2,)), contract=((), ())),
        Sample(Arg((3,)), Arg((3,)), contract=((0,), (0,))),
        Sample(Arg(), Arg(), contract=((), ())),
        Sample(Arg((2, 0)), Arg((0, 3)), contract=((1,), (0,))),
        Sample(Arg((0, 2)), Arg((0, 2, 3)), contract=((1,), (1,)), batch=((0,), (0,))),
    ],
    rejects=[
        Reject(
            ShapeError,
            "contracted sizes differ: axis 1 of (2, 3) and axis 0 of (4, 5), 3 != 4",
            Arg((2, 3)),
            Arg((4, 5)),
            contract=((1,), (0,)),
        ),
        Reject(
            ShapeError,
            "batch sizes differ",
            Arg((2, 3)),
            Arg((4, 3)),
            contract=((1,), (1,)),
            batch=((0,), (0,)),
        ),
        Reject(ShapeError, "twice", Arg((2, 2)), Arg((2, 2)), contract=((0, 0), (0, 1))),
        Reject(
            ShapeError,
            "cannot be both",
            Arg((2, 2)),
            Arg((2, 2)),
            contract=((0,), (0,)),
            batch=((0,), (1,)),
        ),
        Reject(ShapeError, "2 contracted axes", Arg((2, 2)), Arg((2,)), contract=((0, 1), (0,))),
        Reject(ShapeError, "out of range", Arg((2,)), Arg((2,)), contract=((1,), (0,))),
    ],
    dtypes="ifc",
)
def dot_general(a: Any, b: Any, *, contract: Any, batch: Any = ((), ())) -> Node:
    """Product of two arrays summed over some axes, side by side along others.

    Every product of this module is one of these. The notation is JAX's.

    Parameters
    ----------
    a, b : array_like or Node
        Integers are multiplied as integers; half floats are summed in float32.
    contract : (axes of a, axes of b)
        Paired in order, multiplied and summed.
    batch : (axes of a, axes of b), optional
        Paired in order; the product is taken for every index along them by itself.

    Returns
    -------
    Node
        Axes: batch, then the other axes of ``a``, then the other axes of ``b``.

    Raises
    ------
    ShapeError
        If sizes of paired axes differ, or an axis is given twice.
    DTypeError
        If both are bool, or they are different floats.

    Examples
    --------
    Scores of attention, ``(batch, heads, queries, keys)``:

    >>> import graphnn as gn
    >>> q = gn.input("q", shape=("batch", 8, 10, 64))
    >>> k = gn.input("k", shape=("batch", 8, 12, 64))
    >>> gn.dot_general(q, k, contract=((3,), (3,)), batch=((0, 1), (0, 1))).shape
    (Dim(batch), 8, 10, 12)
    """
    a, b = numbers("dot_general", a, b)
    contracted = axis_pairs("dot_general", "contracted", contract, a, b)
    batched = axis_pairs("dot_general", "batch", batch, a, b)
    for axes, others in zip(contracted, batched, strict=True):
        if not set(axes).isdisjoint(others):
            raise ShapeError(
                f"dot_general: axes {axes} are contracted and {others} are batch axes: "
                "one axis cannot be both"
            )
    return dot_of(a, b, contracted, batched)


def axis_labels(count: int) -> str:
    """Labels that no letter is."""
    return "".join(chr(0xE000 + number) for number in range(count))


def labelled_product(
    a: Node, labels_a: str, b: Node, labels_b: str, wanted: str
) -> tuple[Node, str]:
    """Multiply, and sum over the labels that both have and that are not wanted.

    Labels stand for axes, one character each. All labels of one operand alone are kept. Axes of
    one label have one size, or one of them has size 1 and is repeated.

    Returns
    -------
    (Node, str)
        The product and the labels of its axes: as ``wanted`` if one order of the two operands
        gives that, else in some order.
    """
    a, labels_a = _unrepeated(a, labels_a, b, labels_b)
    b, labels_b = _unrepeated(b, labels_b, a, labels_a)
    shared = [label for label in labels_a if label in labels_b]
    lead = [label for label in wanted if label in shared]
    summed = [label for label in shared if label not in lead]
    alone_a = [label for label in labels_a if label not in shared]
    alone_b = [label for label in labels_b if label not in shared]
    if "".join(lead + alone_a + alone_b) != wanted and "".join(lead + alone_b + alone_a) == wanted:
        a, labels_a, alone_a, b, labels_b, alone_b = b, labels_b, alone_b, a, labels_a, alone_a
    pairs = [
        (tuple(map(labels_a.index, group)), tuple(map(labels_b.index, group)))
        for group in (summed, lead)
    ]
    return dot_of(a, b, *pairs), "".join(lead + alone_a + alone_b)


def _unrepeated(x: Node, labels: str, other: Node, others: str) -> tuple[Node, str]:
    """Drop axes of size 1 that the other operand has in another size: a free axis is as good."""
    kept = [
        axis
        for axis, label in enumerate(labels)
        if x.shape[axis] != 1 or label not in others or other.shape[others.index(label)] == 1
    ]
    shape = tuple(x.shape[axis] for axis in kept)
    return to_shape(x, shape), "".join(labels[axis] for axis in kept)
