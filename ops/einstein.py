"""Einstein's notation for sums of products: ``einsum``, in terms of products of two.

An operand is first reduced to axes that matter: diagonals are taken for labels it repeats, and
labels that nothing else has are summed. Then the operands are multiplied two at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from graphnn.core.dims import Size
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.ops.arithmetic import multiply
from graphnn.ops.broadcasting import sum, to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.contraction import axis_labels, labelled_product, numbers
from graphnn.ops.diagonals import diagonal
from graphnn.ops.movement import permute

__all__ = ["einsum"]

UNKNOWN_SIZE = 64
"""What a named dimension counts for when costs are compared."""

MOST_OPERANDS_SEARCHED = 6
"""Up to so many operands the cheapest order is found; of more, the cheapest pair comes first."""


class Term(NamedTuple):
    """An operand and one label per axis."""

    node: Node
    labels: str


@operation(
    reference=lambda subscripts, *operands: np.einsum(subscripts, *operands),
    samples=[
        Sample("ij,jk->ik", Arg((2, 3)), Arg((3, 4))),
        Sample("ij,jk->ki", Arg((2, 3)), Arg((3, 4))),
        Sample("ba", Arg((2, 3))),
        Sample("ii", Arg((3, 3))),
        Sample("iji->ji", Arg((3, 2, 3))),
        Sample("ijk->j", Arg((2, 3, 4))),
        Sample("i,i->i", Arg((3,)), Arg((3,))),
        Sample("bi,bj->bij", Arg((2, 3)), Arg((2, 4))),
        Sample("i,j", Arg((3,)), Arg((4,))),
        Sample("ij,->ij", Arg((2, 3)), Arg()),
        Sample("bhqd,bhkd->bhqk", Arg((2, 2, 3, 4)), Arg((2, 2, 5, 4))),
        Sample("...ij,...jk->...ik", Arg((2, 1, 3, 4)), Arg((5, 4, 2))),
        Sample("i...->...", Arg((2, 3, 4))),
        Sample("...,...", Arg((2, 1)), Arg((3,))),
        Sample(" i j , j k -> i k ", Arg((2, 3)), Arg((3, 4))),
        Sample("ij,kj->", Arg((2, 3)), Arg((4, 3))),
        Sample("ab,bc,cd,de->ae", Arg((2, 3)), Arg((3, 4)), Arg((4, 2)), Arg((2, 3))),
        Sample("i,i,i->", Arg((3,)), Arg((3,)), Arg((3,))),
        Sample("i,i", Arg((1,)), Arg((3,))),
        Sample("ij,jk->ik", Arg((2, 0)), Arg((0, 3))),
    ],
    rejects=[
        Reject(ShapeError, "2 terms for 1 operand", "ij,jk", Arg((2, 3))),
        Reject(ShapeError, "'ijk' has 3 labels, the operand (2, 3) has 2", "ijk->", Arg((2, 3))),
        Reject(ShapeError, "label 'j' has sizes 3", "ij,jk", Arg((2, 3)), Arg((4, 5))),
        Reject(ShapeError, "'k' is in no operand", "ij->ik", Arg((2, 3))),
        Reject(ShapeError, "'i' is twice in the result", "ij->ii", Arg((2, 3))),
        Reject(ShapeError, "unexpected '1'", "i1->i", Arg((2, 3))),
        Reject(ShapeError, "unexpected '.'", "i..->i", Arg((2, 3))),
        Reject(ShapeError, "more than one '->'", "i->j->k", Arg((2,))),
        Reject(ShapeError, "more than one '...'", "...i...", Arg((2,))),
        Reject(ShapeError, "axes of '...' are not in the result", "i...->i", Arg((2, 3))),
    ],
    dtypes="ifc",
)
def einsum(subscripts: str, *operands: Any) -> Node:
    """Sum of products in Einstein's notation: labels not in the result are summed.

    Parameters
    ----------
    subscripts : str
        As ``"bij,jk->bik"``. Without ``->`` the result has the labels that occur once, in
        alphabetical order. ``...`` stands for the axes that are not labelled, which are
        broadcast and come first without ``->``. A label that an operand repeats is its
        diagonal. Axes of size 1 are repeated where the same label has another size.
    *operands : array_like or Node
        At least one.

    Returns
    -------
    Node

    Raises
    ------
    ShapeError
        If the string is not valid, or does not fit the operands.

    Notes
    -----
    Several operands are multiplied two at a time, in the order that takes the fewest
    multiplications; a named dimension counts as 64.

    Examples
    --------
    >>> import graphnn as gn
    >>> x, w = gn.input("x", shape=("batch", 3, 4)), gn.input("w", shape=(4, 5))
    >>> gn.einsum("bij,jk->bik", x, w).shape
    (Dim(batch), 3, 5)
    """
    nodes = numbers("einsum", *operands) if operands else []
    terms, wanted = _parse(subscripts, nodes)
    sizes = _sizes(terms)
    terms = [_without_ones(_without_repeated(term), sizes) for term in terms]
    terms = [_without_lonely(terms, index, wanted) for index in range(len(terms))]
    while len(terms) > 1:
        left, right = _next_pair([term.labels for term in terms], wanted, sizes)
        one, other = terms[left], terms[right]
        terms = [term for index, term in enumerate(terms) if index not in (left, right)]
        terms.append(_multiplied(one, other, _needed(terms, wanted), wanted))
    (result,) = terms
    return permute(result.node, tuple(map(result.labels.index, wanted)))


# --------------------------------------------------------------------------------- the notation


def _parse(subscripts: str, nodes: Sequence[Node]) -> tuple[list[Term], str]:
    """The operands with a label per axis, ``...`` replaced by labels, and the result's labels."""
    if not isinstance(subscripts, str):
        raise ShapeError(
            f"einsum: the first argument is the notation, not {type(subscripts).__name__}",
            hint='for example gn.einsum("ij,jk->ik", a, b)',
        )
    text = "".join(subscripts.split())
    left, arrow, right = text.partition("->")
    if "->" in right:
        raise ShapeError(f"einsum: more than one '->' in {subscripts!r}")
    given = left.split(",")
    for part in (*given, right):
        _check_part(part, subscripts)
    if len(given) != len(nodes):
        count = f"{len(nodes)} operand" + ("s" if len(nodes) != 1 else "")
        found = f"{len(given)} term" + ("s" if len(given) != 1 else "")
        raise ShapeError(f"einsum: {found} for {count} in {subscripts!r}")
    hidden = [_hidden_axes(part, node) for part, node in zip(given, nodes, strict=True)]
    dots = axis_labels(max(hidden))
    terms = [
        Term(node, part.replace("...", dots[len(dots) - count :]))
        for part, node, count in zip(given, nodes, hidden, strict=True)
    ]
    if not arrow:
        occurrences = Counter("".join(given).replace(".", ""))
        once = sorted(label for label, count in occurrences.items() if count == 1)
        return terms, dots + "".join(once)
    if dots and "..." not in right:
        raise ShapeError(
            f"einsum: the {len(dots)} axes of '...' are not in the result of {subscripts!r}",
            hint="add '...' to the right of '->', or name the axes and leave them out",
        )
    return terms, _checked_result(right.replace("...", dots), terms, subscripts)


def _check_part(part: str, subscripts: str) -> None:
    """One operand's part: letters, and ``...`` at most once."""
    if part.count("...") > 1:
        raise ShapeError(f"einsum: more than one '...' in {part!r} of {subscripts!r}")
    for character in part.replace("...", ""):
        if not (character.isascii() and character.isalpha()):
            raise ShapeError(
                f"einsum: unexpected {character!r} in {subscripts!r}",
                hint="labels are the letters a-z and A-Z; '...' stands for axes without a label",
            )


def _hidden_axes(part: str, node: Node) -> int:
    """How many axes ``...`` stands for."""
    labels = part.replace("...", "")
    hidden = node.ndim - len(labels)
    if hidden < 0 or (hidden > 0 and "..." not in part):
        raise ShapeError(
            f"einsum: {part!r} has {len(labels)} labels, "
            f"the operand {shape_text(node.shape)} has {node.ndim} axes",
            hint="give every axis a label, or let '...' stand for the others",
        )
    return hidden


def _checked_result(wanted: str, terms: Sequence[Term], subscripts: str) -> str:
    known = {label for term in terms for label in term.labels}
    for label in wanted:
        if wanted.count(label) > 1:
            raise ShapeError(f"einsum: {label!r} is twice in the result of {subscripts!r}")
        if label not in known:
            raise ShapeError(f"einsum: {label!r} is in no operand of {subscripts!r}")
    return wanted


def _sizes(terms: Sequence[Term]) -> dict[str, Size]:
    """The size of every label; 1 gives way to another."""
    sizes: dict[str, Size] = {}
    for term in terms:
        for label, size in zip(term.labels, term.node.shape, strict=True):
            known = sizes.setdefault(label, size)
            if known == 1:
                sizes[label] = size
            elif size not in (1, known):
                name = f"label {label!r}" if label.isascii() else "an axis of '...'"
                shapes = ", ".join(f"{shape_text(each.node.shape)}" for each in terms)
                raise ShapeError(f"einsum: {name} has sizes {known} and {size} in {shapes}")
    return sizes


# ------------------------------------------------------------------------------- one operand


def _without_repeated(term: Term) -> Term:
    """Diagonals instead of labels that occur twice."""
    node, labels = term
    while (label := next((each for each in labels if labels.count(each) > 1), "")) != "":
        first, second = labels.index(label), labels.rindex(label)
        if node.shape[first] != node.shape[second]:
            raise ShapeError(
                f"einsum: label {label!r} has sizes {node.shape[first]} and "
                f"{node.shape[second]} in one operand {shape_text(term.node.shape)}",
                hint="a repeated label is a diagonal, so both axes have one size",
            )
        node = diagonal(node, 0, first, second)
        labels = "".join(labels[i] for i in range(len(labels)) if i not in (first, second))
        labels += label
    return Term(node, labels)


def _without_ones(term: Term, sizes: Mapping[str, Size]) -> Term:
    """Drop axes of size 1 whose label has another size elsewhere: they are repeated."""
    node, labels = term
    kept = [axis for axis, label in enumerate(labels) if node.shape[axis] == sizes[label]]
    shape = tuple(node.shape[axis] for axis in kept)
    return Term(to_shape(node, shape), "".join(labels[axis] for axis in kept))


def _without_lonely(terms: Sequence[Term], index: int, wanted: str) -> Term:
    """Sum over labels that are neither in another operand nor in the result."""
    node, labels = terms[index]
    needed = _needed([*terms[:index], *terms[index + 1 :]], wanted)
    axes = tuple(axis for axis, label in enumerate(labels) if label not in needed)
    return Term(sum(node, axes), "".join(label for label in labels if label in needed))


def _needed(others: Sequence[Term], wanted: str) -> set[str]:
    """Labels of the result and of these operands: what may not be summed yet."""
    return {*wanted, *(label for term in others for label in term.labels)}


# ------------------------------------------------------------------------------- two operands


def _multiplied(one: Term, other: Term, needed: set[str], wanted: str) -> Term:
    """The product of two, summed over labels that nothing needs."""
    found = "".join(dict.fromkeys(one.labels + other.labels))
    kept = "".join(label for label in wanted if label in found)
    kept += "".join(label for label in found if label in needed and label not in wanted)
    shared = set(one.labels) & set(other.labels)
    if shared <= needed and shared:
        # Nothing is summed: a plain product, which fuses with what comes next.
        aligned = (_aligned(term, kept) for term in (one, other))
        return Term(multiply(*aligned), kept)
    return Term(*labelled_product(*one, *other, kept))


def _aligned(term: Term, labels: str) -> Node:
    """The operand with its axes in the order of ``labels``, and of size 1 where it has none."""
    order = [label for label in labels if label in term.labels]
    moved = permute(term.node, tuple(map(term.labels.index, order)))
    sizes = iter(moved.shape)
    return to_shape(moved, tuple(next(sizes) if each in order else 1 for each in labels))


# -------------------------------------------------------------------------- the order of products


def _next_pair(labels: Sequence[str], wanted: str, sizes: Mapping[str, Size]) -> tuple[int, int]:
    """The two operands to multiply now, so that all products together are cheap."""
    counts = {
        label: size if isinstance(size, int) else UNKNOWN_SIZE for label, size in sizes.items()
    }

    def cost(one: set[str], other: set[str]) -> int:
        return math.prod(counts[label] for label in one | other)

    sets = [set(each) for each in labels]
    if len(sets) > MOST_OPERANDS_SEARCHED:
        return min(
            combinations(range(len(sets)), 2), key=lambda pair: cost(sets[pair[0]], sets[pair[1]])
        )
    # A group of operands is a number whose bits are its members.
    single = {1 << index: index for index in range(len(sets))}
    everything = (1 << len(sets)) - 1
    plans: dict[int, _Plan] = {}
    for group in range(1, everything + 1):
        inside = set().union(*(sets[index] for bit, index in single.items() if bit & group))
        outside = set(wanted).union(*(sets[i] for bit, i in single.items() if not bit & group))
        if group in single:
            plans[group] = _Plan(0, sets[single[group]], None)
            continue
        options = []
        part = (group - 1) & group
        while part > group ^ part:
            one, other = plans[part], plans[group ^ part]
            total = one.cost + other.cost + cost(one.labels, other.labels)
            first = one.first or other.first or (single[part], single[group ^ part])
            options.append(_Plan(total, inside & outside, first))
            part = (part - 1) & group
        plans[group] = min(options, key=lambda plan: plan.cost)
    first_pair = plans[everything].first
    assert first_pair is not None
    return first_pair


class _Plan(NamedTuple):
    """The cheapest way to multiply a group of operands."""

    cost: int
    labels: set[str]
    first: tuple[int, int] | None
