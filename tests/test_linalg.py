"""Linear algebra beyond the table: PyTorch's opinion, identities, batches, degenerate matrices."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.graph import topological_order
from graphnn.core.node import Node
from graphnn.core.op import REGISTRY

Array = np.ndarray[Any, np.dtype[Any]]

SHAPES = [(1, 1), (3, 3), (6, 6), (5, 3), (3, 5), (2, 4, 4), (2, 1, 4, 3), (3, 2, 3)]
SQUARE = [shape for shape in SHAPES if shape[-1] == shape[-2]]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_square = pytest.mark.parametrize("shape", SQUARE, ids=str)

RTOL = 1e-9
"""Both sides compute in float64; matrices are random, with condition numbers up to some hundreds,
which enter into a derivative squared."""


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def spd(*shape: int) -> Array:
    """Symmetric and positive definite matrices."""
    x = random(*shape)
    return x @ x.mT + 0.5 * np.eye(shape[-1])


def value(node: Any, feeds: dict[Node, Any] | None = None) -> Any:
    feeds = feeds or {}
    # The host decomposes and solves; native code of what is around that has tests of its own.
    program = gn.compile(list(feeds), node, native="never", verify=True)
    return program(*feeds.values())


def given(array: Array) -> tuple[Node, dict[Node, Array]]:
    node = gn.input("a", array.shape, array.dtype)
    return node, {node: array}


# ---------------------------------------------------------------------------- beside PyTorch


def compare(ours: Callable[..., Any], theirs: Callable[..., Any], *arrays: Array) -> None:
    """Values, and gradients of a weighted sum, also of the gradient's square: the second order."""
    torch = pytest.importorskip("torch", reason="PyTorch is the second opinion of these tests")
    inputs = [gn.input(f"x{i}", array.shape, "float64") for i, array in enumerate(arrays)]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    node, tensor = ours(*inputs), theirs(torch, *tensors)
    weights = random(*node.shape, seed=1)
    first = gn.grad(gn.sum(node * weights), inputs)
    second = gn.grad(gn.sum(gn.stack([gn.sum(gn.square(each)) for each in first])), inputs)
    program = gn.compile(inputs, [node, *first, *second], native="never", verify=True)
    found = program(*arrays)
    total = (tensor * torch.tensor(weights)).sum()
    wanted_first = torch.autograd.grad(total, tensors, create_graph=True)
    # Torch refuses what does not depend on the tensors: the slope of a linear function.
    nothing = sum(0.0 * each.sum() for each in tensors)
    squares = nothing + sum((each**2).sum() for each in wanted_first)
    wanted_second = torch.autograd.grad(squares, tensors)
    for each, wanted in zip(found, [tensor, *wanted_first, *wanted_second], strict=True):
        expected = wanted.numpy(force=True)
        scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
        np.testing.assert_allclose(each, expected, rtol=0.0, atol=RTOL * scale)


def symmetric(x: Any) -> Any:
    """The symmetric part, of a node or of a tensor."""
    return (x + (gn.swapaxes(x, -1, -2) if isinstance(x, Node) else x.mT)) / 2


@each_square
def test_cholesky_beside_torch(shape: tuple[int, ...]) -> None:
    compare(gn.cholesky, lambda torch, a: torch.linalg.cholesky(symmetric(a)), spd(*shape))


@each_square
def test_eigenvalues_beside_torch(shape: tuple[int, ...]) -> None:
    a = random(*shape)
    compare(gn.eigvalsh, lambda torch, a: torch.linalg.eigvalsh(symmetric(a)), a)


@each_square
def test_eigenvectors_beside_torch(shape: tuple[int, ...]) -> None:
    """Squares of the elements, which do not depend on signs."""
    a = random(*shape)
    compare(
        lambda a: gn.square(gn.eigh(a)[1]),
        lambda torch, a: torch.linalg.eigh(symmetric(a))[1] ** 2,
        a,
    )


@each_shape
def test_singular_values_beside_torch(shape: tuple[int, ...]) -> None:
    compare(gn.svdvals, lambda torch, a: torch.linalg.svdvals(a), random(*shape))


@each_shape
@pytest.mark.parametrize("factor", [0, 2])
def test_singular_vectors_beside_torch(shape: tuple[int, ...], factor: int) -> None:
    compare(
        lambda a: gn.square(gn.svd(a)[factor]),
        lambda torch, a: torch.linalg.svd(a, full_matrices=False)[factor] ** 2,
        random(*shape),
    )


@each_shape
@pytest.mark.parametrize("factor", [0, 1])
def test_qr_beside_torch(shape: tuple[int, ...], factor: int) -> None:
    compare(lambda a: gn.qr(a)[factor], lambda torch, a: torch.linalg.qr(a)[factor], random(*shape))


@each_square
def test_functions_of_a_matrix_beside_torch(shape: tuple[int, ...]) -> None:
    a = random(*shape)
    compare(gn.inv, lambda torch, a: torch.linalg.inv(a), a)
    compare(gn.det, lambda torch, a: torch.linalg.det(a), a)
    compare(lambda a: gn.slogdet(a)[1], lambda torch, a: torch.linalg.slogdet(a)[1], a)
    compare(gn.expm, lambda torch, a: torch.linalg.matrix_exp(a), a)
    for n in (-2, 3, 6):
        compare(
            lambda a, n=n: gn.matrix_power(a, n),
            lambda torch, a, n=n: torch.linalg.matrix_power(a, n),
            a,
        )


@each_shape
def test_pinv_beside_torch(shape: tuple[int, ...]) -> None:
    compare(gn.pinv, lambda torch, a: torch.linalg.pinv(a), random(*shape))


@each_shape
def test_lstsq_beside_torch(shape: tuple[int, ...]) -> None:
    b = random(*shape[:-1], 2, seed=3)
    compare(gn.lstsq, lambda torch, a, b: torch.linalg.pinv(a) @ b, random(*shape), b)


@pytest.mark.parametrize(
    ("left", "right"),
    [((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3, 2)), ((3, 3), (4, 3, 2))],
    ids=str,
)
def test_solvers_beside_torch(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = random(*left), random(*right)
    compare(gn.solve, lambda torch, a, b: torch.linalg.solve(a, b), a, b)
    if len(right) == 1:
        return
    for lower in (False, True):
        for unit in (False, True):
            compare(
                lambda a, b, lower=lower, unit=unit: gn.solve_triangular(
                    a, b, lower=lower, unit_diagonal=unit
                ),
                lambda torch, a, b, lower=lower, unit=unit: torch.linalg.solve_triangular(
                    torch.tril(a) if lower else torch.triu(a),
                    b.expand(*a.shape[:-2], *b.shape[-2:]) if b.ndim < a.ndim else b,
                    upper=not lower,
                    unitriangular=unit,
                ),
                a,
                b,
            )


@each_shape
@pytest.mark.parametrize("order", ["fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf], ids=str)
def test_norms_of_matrices_beside_torch(shape: tuple[int, ...], order: Any) -> None:
    compare(
        lambda a: gn.norm(a, order, axis=(-2, -1)),
        lambda torch, a: torch.linalg.matrix_norm(a, order),
        random(*shape),
    )


# -------------------------------------------------------------------------------- identities


@each_shape
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_factors_multiply_to_the_matrix(shape: tuple[int, ...], dtype: str) -> None:
    array = random(*shape).astype(dtype)
    a, feeds = given(array)
    (q, r), (u, s, vh) = value([gn.qr(a), gn.svd(a)], feeds)
    eps = 32 * float(np.finfo(dtype).eps)
    one = np.eye(min(shape[-2:]))
    for columns in (q, u, vh.mT):
        np.testing.assert_allclose(
            columns.mT @ columns, np.broadcast_to(one, (*shape[:-2], *one.shape)), atol=eps
        )
    np.testing.assert_allclose(q @ r, array, atol=eps)
    np.testing.assert_allclose(u * s[..., None, :] @ vh, array, atol=eps)
    assert np.array_equal(r, np.triu(r))
    assert np.all(np.diff(s, axis=-1) <= 0.0)
    assert np.all(s >= 0.0)


@each_square
def test_symmetric_factors_multiply_to_the_matrix(shape: tuple[int, ...]) -> None:
    array = spd(*shape)
    a, feeds = given(array)
    lower, upper, (w, v) = value([gn.cholesky(a), gn.cholesky(a, upper=True), gn.eigh(a)], feeds)
    np.testing.assert_allclose(lower @ lower.mT, array, rtol=1e-12)
    assert np.array_equal(lower, np.tril(lower))
    assert np.array_equal(upper, lower.mT)
    np.testing.assert_allclose(v * w[..., None, :] @ v.mT, array, atol=1e-12)
    assert np.all(np.diff(w, axis=-1) >= 0.0)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4)], ids=str)
def test_complete_factors(shape: tuple[int, int]) -> None:
    array = random(*shape)
    a, feeds = given(array)
    (q, r), (u, s, vh) = value([gn.qr(a, "complete"), gn.svd(a, full_matrices=True)], feeds)
    rows, columns = shape
    assert (q.shape, r.shape) == ((rows, rows), shape)
    np.testing.assert_allclose(q.T @ q, np.eye(rows), atol=1e-14)
    np.testing.assert_allclose(q @ r, array, atol=1e-14)
    assert (u.shape, vh.shape) == ((rows, rows), (columns, columns))
    np.testing.assert_allclose(u[:, :2] * s @ vh[:2], array, atol=1e-14)
    np.testing.assert_allclose(vh @ vh.T, np.eye(columns), atol=1e-14)


def test_what_is_not_determined_has_no_derivative() -> None:
    tall, wide = gn.input("tall", (3, 2)), gn.input("wide", (2, 3))
    for a in (tall, wide):
        with pytest.raises(gn.UnsupportedOpError, match="full_matrices=False"):
            gn.grad(gn.sum(gn.svd(a, full_matrices=True)[0]), a)
    with pytest.raises(gn.UnsupportedOpError, match='mode="reduced"'):
        gn.grad(gn.sum(gn.qr(tall, "complete")[0]), tall)
    gn.grad(gn.sum(gn.qr(wide, "complete")[1]), wide)  # nothing is added to it: it has one


def test_a_system_that_is_badly_conditioned() -> None:
    """Residuals are small although the matrix of Hilbert has condition number 1e13."""
    rows = np.arange(1.0, 10.0)
    hilbert = 1.0 / (rows[:, None] + rows - 1.0)
    a, feeds = given(hilbert)
    b = random(9)
    x, best = value([gn.solve(a, b), gn.lstsq(a, b)], feeds)
    for each in (x, best):
        residual = hilbert @ each - b
        assert np.abs(residual).max() < 1e-15 * np.abs(each).max() * 10


def test_large_directions_do_not_spoil_the_derivative_of_expm() -> None:
    array, direction = random(3, 3), 1e8 * random(3, 3, seed=1)
    a, feeds = given(array)
    large, small = value(
        [gn.jvp(gn.expm(a), a, each) for each in (direction, direction / 1e8)], feeds
    )
    np.testing.assert_allclose(large / 1e8, small, rtol=1e-11)


# ---------------------------------------------------------------------- degenerate matrices


def test_a_matrix_without_a_result_is_nan_alone() -> None:
    good, singular = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, 1.0], [1.0, 1.0]])
    bad, infinite = np.full((2, 2), np.nan), np.diag([np.inf, 1.0])
    for function, broken in (
        (gn.cholesky, -good),
        (gn.inv, singular),
        (lambda a: gn.solve(a, np.ones(2)), singular),
        (gn.svdvals, bad),
        (gn.eigvalsh, bad),
        (gn.pinv, bad),
        (lambda a: gn.lstsq(a, np.ones(2)), bad),
        (gn.expm, bad),
        (lambda a: gn.qr(a)[0], bad),
        (lambda a: gn.eigh(a)[1], infinite),
        (lambda a: gn.svd(a)[0], infinite),
        (gn.pinv, infinite),
        (lambda a: gn.lstsq(a, np.ones(2)), infinite),
    ):
        a, feeds = given(np.stack([good, broken, good]))
        single, alone = given(broken)
        first, second, third = value(function(a), feeds)
        assert np.isnan(second).all()
        assert np.isfinite(first).all()
        assert np.array_equal(first, third)
        assert np.isnan(value(function(single), alone)).all()


@pytest.mark.parametrize("broken", [[], [0], [2, 3, 9], range(10)], ids=str)
def test_matrices_without_a_result_are_told_apart(broken: Sequence[int]) -> None:
    arrays = np.eye(2) * np.arange(1.0, 11.0).reshape(5, 2, 1, 1)
    arrays.reshape(10, 2, 2)[list(broken)] = 0.0
    a, feeds = given(arrays)
    found = value(gn.solve(a, np.ones(2)), feeds).reshape(10, 2)
    expected = 1.0 / np.arange(1.0, 11.0)
    expected[list(broken)] = np.nan
    np.testing.assert_allclose(found, np.stack([expected, expected], 1))


def test_a_matrix_without_a_result_is_found() -> None:
    a, feeds = given(-np.eye(2))
    program = gn.compile(list(feeds), gn.cholesky(a), debug="nan")
    with pytest.raises(gn.NonFiniteError, match="cholesky"):
        program(-np.eye(2))


def test_equal_eigenvalues() -> None:
    """Symmetric functions of the values have a derivative; the vectors have none."""
    a, feeds = given(np.eye(3) * 2.0)
    values, vectors = gn.eigh(a)
    s = gn.svdvals(a)
    slopes = [gn.grad(gn.sum(each**3), a) for each in (values, s)]
    for slope in value(slopes, feeds):
        np.testing.assert_allclose(slope, np.eye(3) * 12.0, atol=1e-14)
    spoiled = value(gn.grad(gn.sum(vectors * random(3, 3)), a), feeds)
    assert not np.isfinite(spoiled).all()


def test_determinants_of_singular_matrices() -> None:
    """Both derivatives beside those of the polynomial, at every rank."""

    def cofactor_sum(a: Node) -> Node:
        m = [[a[i, j] for j in range(3)] for i in range(3)]
        terms = [
            m[0][i] * (m[1][j] * m[2][k] - m[1][k] * m[2][j])
            for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1))
        ]
        return terms[0] + terms[1] + terms[2]

    for rank in range(4):
        array = random(3, rank, seed=rank) @ random(rank, 3)
        a, feeds = given(array)
        found = []
        for function in (gn.det, cofactor_sum):
            first = gn.grad(function(a), a)
            second = gn.grad(gn.sum(first * random(3, 3)), a)
            found.append([function(a), first, second])
        for ours, wanted in zip(*value(found, feeds), strict=True):
            np.testing.assert_allclose(ours, wanted, atol=1e-13)


def test_slogdet_does_not_overflow() -> None:
    array = 1e3 * np.eye(200)
    a, feeds = given(array)
    sign, logabsdet = gn.slogdet(a)
    found = value([sign, logabsdet, gn.grad(logabsdet, a), gn.slogdet(0.0 * a)[1]], feeds)
    np.testing.assert_allclose(found[1], 200 * np.log(1e3))
    np.testing.assert_allclose(found[2], 1e-3 * np.eye(200))
    assert found[0] == 1.0
    assert found[3] == -np.inf


def test_pinv_of_a_fixed_lower_rank() -> None:
    """Along matrices of rank 2, the derivative is that of central differences."""
    left, right = random(5, 2), random(2, 4)
    b, c = gn.input("b", (5, 2), "float64"), gn.input("c", (2, 4), "float64")
    feeds = {b: left, c: right}
    weights = random(4, 5, seed=1)
    for product, seen in ((gn.matmul(b, c), weights), (gn.matmul(c.T, b.T), weights.T)):
        total = gn.sum(gn.pinv(product, rtol=1e-8) * seen)
        gn.check_grads(total, feeds, rtol=1e-6)
    solution = gn.lstsq(gn.matmul(b, c), random(5), rtol=1e-8)
    gn.check_grads(gn.sum(gn.square(solution)), feeds, rtol=1e-6)
    shortest = value(solution, feeds)
    np.testing.assert_allclose(shortest, np.linalg.pinv(left @ right, 1e-8) @ random(5))


def test_triangles_that_are_not_read() -> None:
    array = random(3, 3) + 4.0 * np.eye(3)
    array[np.triu_indices(3, 1)] = np.nan
    a, feeds = given(array)
    x = gn.solve_triangular(a, np.ones(3), lower=True)
    solution, slope = value([x, gn.grad(gn.sum(x), a)], feeds)
    np.testing.assert_allclose(np.tril(array) @ solution, np.ones(3))
    assert np.array_equal(slope, np.tril(slope))
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("unit_diagonal", [False, True])
@pytest.mark.parametrize(("count", "size"), [(20, 3), (3, 20), (20, 20), (2, 0), (20, 1)])
def test_many_small_and_few_large_triangular_systems(
    count: int, size: int, unit_diagonal: bool, lower: bool
) -> None:
    generator = np.random.default_rng(count + size)
    arrays = generator.uniform(-1.0, 1.0, (count, size, size)) / 4 + 2.0 * np.eye(size)
    right = generator.uniform(-1.0, 1.0, (count, size, 2))
    triangle = np.tril(arrays) if lower else np.triu(arrays)
    if unit_diagonal:
        triangle = triangle * (1.0 - np.eye(size)) + np.eye(size)
        arrays[..., range(size), range(size)] = np.nan
    rows, columns = np.triu_indices(size, 1)
    arrays[(..., rows, columns) if lower else (..., columns, rows)] = np.nan  # is not read
    a, feeds = given(arrays)
    x = gn.solve_triangular(a, right, lower=lower, unit_diagonal=unit_diagonal)
    np.testing.assert_allclose(triangle @ value(x, feeds), right, rtol=1e-12, atol=1e-12)


def test_half_floats_are_rounded_once() -> None:
    array = spd(4, 4).astype(np.float16)
    a, feeds = given(array)
    wide, wide_feeds = given(array.astype(np.float32))
    for function in (gn.cholesky, gn.inv, gn.det, gn.expm, lambda a: gn.matrix_power(a, 3)):
        found, wanted = value(function(a), feeds), value(function(wide), wide_feeds)
        assert found.dtype == np.float16
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(found, wanted.astype(np.float16))


# ------------------------------------------------------------------- names, batches, sharing


def test_named_dimensions() -> None:
    a = gn.input("a", shape=("batch", "n", "n"))
    assert str(gn.cholesky(a).shape) == str(a.shape)
    assert [node.shape for node in gn.svd(a)] == [a.shape, a.shape[:2], a.shape]
    rows = gn.input("rows", shape=("n", 3), dtype="float64")
    line = gn.lstsq(rows, rows[:, 0])
    program = gn.compile(rows, [line, gn.grad(gn.sum(line), rows)], verify=True)
    for n in (2, 5):
        line, slope = program(random(n, 3))
        assert line.shape == (3,)
        assert slope.shape == (n, 3)
    with pytest.raises(gn.ShapeError, match="not known which of n and 3 is smaller"):
        gn.qr(rows)


@pytest.mark.parametrize("name", ["solve", "solve_triangular", "lstsq"])
def test_one_matrix_is_decomposed_once(name: str) -> None:
    """Right-hand sides that share a matrix become columns."""
    a = gn.input("a", (3, 3), "float64")
    b = gn.input("b", (5, "batch", 3, 2), "float64")
    x = getattr(gn, name)(a, b)
    (node,) = [each for each in topological_order([x]) if each.op is REGISTRY[name]]
    assert [each.ndim for each in node.inputs] == [2, 2]
    assert x.shape == b.shape
    program = gn.compile([a, b], x)
    program(random(3, 3), random(5, 4, 3, 2))
    assert [each.op.name for each in program.instructions if each.op].count(name) == 1


@pytest.mark.parametrize("name", ["solve", "solve_triangular", "lstsq"])
@pytest.mark.parametrize("mapped", [(True, True), (True, False), (False, True)], ids=str)
def test_batch_rules_of_solvers(name: str, mapped: tuple[bool, bool]) -> None:
    arrays = [
        random(*((4,) if is_mapped else ()), 2, 3, size)
        for is_mapped, size in zip(mapped, (3, 2), strict=True)
    ]
    one = [gn.input(f"x{i}", (2, 3, size), "float64") for i, size in enumerate((3, 2))]
    many = [gn.input(f"y{i}", each.shape, "float64") for i, each in enumerate(arrays)]
    node = getattr(gn, name)(*one)
    batched = node.op.batch(node, many, mapped)
    found = value(batched, dict(zip(many, arrays, strict=True)))
    for example in range(4):
        feeds = [
            each[example] if is_mapped else each
            for each, is_mapped in zip(arrays, mapped, strict=True)
        ]
        wanted = value(node, dict(zip(one, feeds, strict=True)))
        np.testing.assert_allclose(found[example], wanted, rtol=1e-11)
