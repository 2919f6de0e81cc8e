"""Values and gradients beside PyTorch's, where conventions could differ."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from beside_torch import RTOL, compare, random

import graphnn as gn
from graphnn.core.node import Node

torch = pytest.importorskip("torch", reason="PyTorch is the second opinion of these tests")


# ------------------------------------------------------------------------------- the softmax


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(axis: int) -> None:
    x = random(3, 4)
    compare(lambda x: gn.softmax(x, axis), lambda x: torch.softmax(x, axis), x)
    compare(lambda x: gn.log_softmax(x, axis), lambda x: torch.log_softmax(x, axis), x)
    compare(lambda x: gn.logsumexp(x, axis), lambda x: torch.logsumexp(x, axis), x)
    compare(lambda x: gn.log(gn.softmax(x, axis)), lambda x: torch.log_softmax(x, axis), 300 * x)


def test_softmax_with_a_masked_class() -> None:
    x = random(3, 4)
    x[:, 1] = -np.inf
    compare(lambda x: gn.softmax(x, -1), lambda x: torch.softmax(x, -1), x)
    compare(lambda x: gn.logsumexp(x, -1), lambda x: torch.logsumexp(x, -1), x)


def test_cross_entropy() -> None:
    labels = np.array([2, 0, 1, 2])

    def ours(x: Node) -> Node:
        picked = gn.take_along_axis(gn.log_softmax(x, -1), gn.constant(labels[:, None]), 1)
        return -gn.mean(picked)

    def by_hand(x: Node) -> Node:
        chosen = gn.log(gn.softmax(x, -1))[gn.arange(4), gn.constant(labels)]
        return gn.mean(-chosen)

    def theirs(x: Any) -> Any:
        return torch.nn.functional.cross_entropy(x, torch.tensor(labels))

    for scale in (1.0, 100.0):
        compare(ours, theirs, scale * random(4, 3))
        compare(by_hand, theirs, scale * random(4, 3))


# ------------------------------------------------------------------------- products of matrices


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 4)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)),
        ((5, 2, 3), (5, 3, 4)),
        ((5, 1, 2, 3), (6, 3, 4)),
        ((3,), (5, 3, 4)),
        ((5, 2, 3), (3,)),
        ((2, 0), (0, 3)),
    ],
    ids=str,
)
def test_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    compare(gn.matmul, torch.matmul, random(*left), random(*right, seed=2))


SIZES = {"a": 2, "b": 3, "c": 4, "d": 1, "i": 3, "j": 2, "k": 4, "h": 2}


@pytest.mark.parametrize(
    "subscripts",
    [
        "ij,jk->ik",
        "ij,jk",
        "ij,kj->ki",
        "ij->ji",
        "ij->",
        "ii->i",
        "ii",
        "i,j->ij",
        "i,i->",
        "ij,ij->ij",
        "ij,ij->j",
        "bij,bjk->bik",
        "bij,bkj->bik",
        "bhij,bhkj->bhik",
        "aij,jk->aik",
        "ab,bc,cd->ad",
        "ab,cb,ca->",
        "...ij,...jk->...ik",
        "i...->...i",
        "iij->j",
    ],
)
def test_einsum(subscripts: str) -> None:
    terms = subscripts.split("->")[0].split(",")
    arrays = [
        random(*(SIZES[letter] for letter in term.replace("...", "a")), seed=seed)
        for seed, term in enumerate(terms)
    ]
    compare(lambda *x: gn.einsum(subscripts, *x), lambda *x: torch.einsum(subscripts, *x), *arrays)


# ------------------------------------------------------------------------------------- indexing

# Where they differ, as at x[0, :, rows], the order of axes is NumPy's.
ROWS = np.array([[2, 0], [1, 1]])


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        (1, 2),
        slice(1, 3),
        slice(None, None, 2),
        (slice(None), -2),
        (Ellipsis, 0),
        (None, slice(1, None)),
        (slice(1, -1), None, Ellipsis, slice(0, 0)),
        ROWS,
        (slice(None), ROWS),
        (ROWS, ROWS - 1),
        (ROWS, slice(None), ROWS - 2),
        (slice(None), 1, ROWS),
        -ROWS,
    ],
    ids=str,
)
def test_indexing(index: Any) -> None:
    def as_tensor(part: Any) -> Any:
        return torch.tensor(part) if isinstance(part, np.ndarray) else part

    parts = index if isinstance(index, tuple) else (index,)
    compare(lambda x: x[index], lambda x: x[tuple(map(as_tensor, parts))], random(4, 3, 5))


@pytest.mark.parametrize("index", [slice(None, None, -1), slice(3, 0, -2), slice(-1, -9, -3)])
def test_negative_steps(index: slice) -> None:
    chosen = torch.tensor(np.arange(4)[index].copy())
    compare(lambda x: x[index], lambda x: x[chosen], random(4, 3))
    compare(lambda x: x[:, index], lambda x: x[:, chosen], random(3, 4))


# ----------------------------------------------------------------------------------- reductions


@pytest.mark.parametrize("axis", [None, 0, (0, 2), -1], ids=str)
@pytest.mark.parametrize("keepdims", [False, True], ids=["", "keepdims"])
def test_reductions(axis: Any, keepdims: bool) -> None:
    x = random(3, 4, 2)
    dims = (0, 1, 2) if axis is None else axis
    for name, theirs in [
        ("sum", torch.sum),
        ("mean", torch.mean),
        ("max", torch.amax),
        ("min", torch.amin),
        ("var", lambda *args, **kwargs: torch.var(*args, **kwargs, correction=0)),
        ("std", lambda *args, **kwargs: torch.std(*args, **kwargs, correction=0)),
        ("norm", torch.linalg.vector_norm),
        ("logsumexp", torch.logsumexp),
    ]:
        ours = getattr(gn, name)
        compare(
            lambda x, ours=ours: ours(x, axis=axis, keepdims=keepdims),
            lambda x, theirs=theirs: theirs(x, dim=dims, keepdim=keepdims),
            x,
        )


def test_ties_share_the_gradient() -> None:
    x = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]
    compare(lambda x: gn.max(x, -1), lambda x: torch.amax(x, -1), x)
    compare(lambda x: gn.min(x, -1), lambda x: torch.amin(x, -1), x)
    compare(gn.maximum, torch.maximum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    compare(gn.minimum, torch.minimum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0])


@pytest.mark.parametrize("row", [(2.0, 3.0, 4.0), (2.0, 0.0, 4.0), (0.0, 0.0, 4.0)], ids=str)
def test_products_with_zeros(row: tuple[float, ...]) -> None:
    compare(lambda x: gn.prod(x, -1), lambda x: torch.prod(x, -1), [row, row[::-1]])
    compare(gn.prod, torch.prod, row)
    compare(lambda x: gn.cumprod(x, 0), lambda x: torch.cumprod(x, 0), row)


@pytest.mark.parametrize("axis", [0, 1])
def test_running_sums(axis: int) -> None:
    compare(lambda x: gn.cumsum(x, axis), lambda x: torch.cumsum(x, axis), random(3, 4))
    compare(lambda x: gn.cumprod(x, axis), lambda x: torch.cumprod(x, axis), random(3, 4))


@pytest.mark.parametrize("order", [1, 2, 3, 0.5, np.inf, -np.inf], ids=str)
def test_norms(order: float) -> None:
    compare(
        lambda x: gn.norm(x, order, axis=-1),
        lambda x: torch.linalg.vector_norm(x, order, dim=-1),
        random(3, 4),
    )


def test_lengths_at_zero() -> None:
    zeros = np.zeros((2, 3))
    compare(gn.norm, torch.linalg.vector_norm, zeros)
    compare(gn.std, lambda x: torch.std(x, correction=0), zeros + 1.5)
    compare(lambda x: gn.norm(x, 1), lambda x: torch.linalg.vector_norm(x, 1), zeros[0])


def test_unbiased_variance() -> None:
    compare(lambda x: gn.var(x, 0, ddof=1), lambda x: torch.var(x, 0), random(5, 2))
    compare(lambda x: gn.std(x, 0, ddof=1), lambda x: torch.std(x, 0), random(5, 2))


# ----------------------------------------------------------------------------------- activations

functional = torch.nn.functional

ACTIVATIONS: dict[str, tuple[Callable[[Node], Node], Callable[[Any], Any]]] = {
    "relu": (gn.relu, functional.relu),
    "relu6": (gn.relu6, functional.relu6),
    "leaky_relu": (lambda x: gn.leaky_relu(x, 0.01), functional.leaky_relu),
    "hard_tanh": (gn.hard_tanh, functional.hardtanh),
    "hard_sigmoid": (gn.hard_sigmoid, functional.hardsigmoid),
    "sigmoid": (gn.sigmoid, torch.sigmoid),
    "tanh": (gn.tanh, torch.tanh),
    "softplus": (gn.softplus, lambda x: functional.softplus(x, threshold=1e9)),
    "log_sigmoid": (gn.log_sigmoid, functional.logsigmoid),
    "silu": (gn.silu, functional.silu),
    "gelu": (gn.gelu, functional.gelu),
    "gelu tanh": (
        lambda x: gn.gelu(x, approximate="tanh"),
        lambda x: functional.gelu(x, approximate="tanh"),
    ),
    "mish": (gn.mish, functional.mish),
    "elu": (gn.elu, functional.elu),
    "selu": (gn.selu, functional.selu),
    "abs": (gn.abs, torch.abs),
    "sign": (gn.sign, torch.sign),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    ours, theirs = ACTIVATIONS[name]
    corners = [0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 20.5, -20.5, 60.0, -60.0]
    rtol = 1e-7 if name == "hard_sigmoid" else RTOL  # PyTorch's 1/6 is that of float32
    x = np.concatenate([corners, random(20), 5.0 * random(20)])
    compare(ours, theirs, x, rtol=rtol)


def test_prelu() -> None:
    compare(gn.prelu, functional.prelu, random(4, 3), [0.1, 0.2, 0.3])


def test_clip_at_its_bounds() -> None:
    x = [-2.0, -1.0, 0.0, 1.0, 2.0]
    compare(lambda x: gn.clip(x, -1.0, 1.0), lambda x: torch.clamp(x, -1.0, 1.0), x)


def test_powers() -> None:
    compare(lambda x: x**3.0, lambda x: x**3.0, [0.0, -2.0, 1.5])
    compare(lambda x: x**0.0, lambda x: x**0.0, [0.0, -2.0, 1.5])
    compare(gn.power, torch.pow, [0.0, 0.0, 2.0, 2.0], [0.0, 2.0, 0.0, -1.5])
