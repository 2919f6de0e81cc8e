"""Sparse products: beside SciPy and PyTorch, from both sides, in batches, with wrong patterns."""

import numpy as np
import pytest
import scipy.sparse

import graphnn as gn
from graphnn.core.graph import topological_order
from graphnn.core.node import make_node
from graphnn.core.op import REGISTRY

torch = pytest.importorskip("torch", reason="PyTorch is the second opinion of these tests")

SEEDS = range(40)


def run(inputs, outputs, *feeds):
    return gn.compile(inputs, outputs, backend="reference", verify=True)(*feeds)


def random_pattern(rng):
    """Any pattern: unsorted, with repeated entries, empty rows, or with nothing at all."""
    rows, columns = (int(size) for size in rng.integers(0, 6, 2))
    count = int(rng.integers(0, 12)) if rows and columns else 0
    ends = np.sort(rng.integers(0, count + 1, max(rows - 1, 0)))
    indptr = np.concatenate([[0], ends, [count] if rows else []]).astype(np.int64)
    return rng.integers(0, max(columns, 1), count), indptr, (rows, columns)


def dense_of(data, indices, indptr, shape):
    matrix = np.zeros(shape)
    np.add.at(matrix, (np.repeat(np.arange(shape[0]), np.diff(indptr)), indices), data)
    return matrix


@pytest.mark.parametrize("seed", SEEDS)
def test_products_from_both_sides_are_those_of_the_dense_matrix(seed):
    rng = np.random.default_rng(seed)
    indices, indptr, shape = random_pattern(rng)
    data = rng.uniform(-2.0, 2.0, indices.size)
    lead = ((), (1,), (3,), (2, 3), (0, 2))[rng.integers(0, 5)]
    right = rng.uniform(-2.0, 2.0, (*lead[:-1], shape[1], *lead[-1:]))
    left = rng.uniform(-2.0, 2.0, (*lead, shape[0]))
    nodes = [gn.input(f"x{i}", each.shape, "float64") for i, each in enumerate((data, right, left))]
    a = gn.csr((nodes[0], indices, indptr), shape)
    outputs = [a @ nodes[1], nodes[2] @ a, a.T.T @ nodes[1], a.todense(), a.T.todense()]
    found = run(nodes, outputs, data, right, left)
    matrix = dense_of(data, indices, indptr, shape)
    expected = [matrix @ right, left @ matrix, matrix @ right, matrix, matrix.T]
    for node, given, wanted in zip(outputs, found, expected, strict=True):
        assert given.shape == node.shape == wanted.shape
        np.testing.assert_allclose(given, wanted, rtol=1e-13, atol=1e-13)
    assert (a.shape, a.T.shape, a.nnz) == (shape, shape[::-1], indices.size)
    if right.ndim < 3:
        scipys = scipy.sparse.csr_array((data, indices, indptr), shape)
        np.testing.assert_allclose(found[0], scipys @ right, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_are_those_of_torch_sparse(seed, transposed):
    rng = np.random.default_rng(seed)
    indices, indptr, shape = random_pattern(rng)
    data = rng.uniform(-2.0, 2.0, indices.size)
    x = rng.uniform(-2.0, 2.0, (shape[0 if transposed else 1], 3))
    weights = rng.uniform(-2.0, 2.0, (shape[1 if transposed else 0], 3))
    nodes = [gn.input("data", data.shape, "float64"), gn.input("x", x.shape, "float64")]
    a = gn.csr((nodes[0], indices, indptr), shape)
    y = (a.T if transposed else a) @ nodes[1]
    value, *slopes = run(nodes, [y, *gn.vjp(y, nodes, weights)], data, x)
    tensors = [torch.tensor(each, requires_grad=True) for each in (data, x)]
    places = np.stack([np.repeat(np.arange(shape[0]), np.diff(indptr)), indices])
    theirs = torch.sparse_coo_tensor(torch.tensor(places), tensors[0], shape, check_invariants=True)
    product = torch.sparse.mm(theirs.t() if transposed else theirs, tensors[1])
    np.testing.assert_allclose(value, product.detach().numpy(), rtol=1e-13, atol=1e-13)
    product.backward(torch.tensor(weights))
    for slope, each in zip(slopes, tensors, strict=True):
        np.testing.assert_allclose(slope, each.grad.numpy(), rtol=1e-12, atol=1e-12)


def test_derivatives_of_any_order_are_made_of_the_two_products():
    rng = np.random.default_rng(0)
    indices, indptr, shape = [2, 0, 1, 1], [0, 2, 2, 4], (3, 3)
    data, x = gn.input("data", (4,), "float64"), gn.input("x", (3, 2), "float64")
    a = gn.csr((data, indices, indptr), shape)
    y = gn.sum((a.T @ (a @ x)) ** 2)
    feeds = {data: rng.uniform(-1.0, 1.0, 4), x: rng.uniform(-1.0, 1.0, (3, 2))}
    gn.check_grads(y, feeds)
    third = gn.grad(gn.sum(gn.grad(gn.sum(gn.grad(y, data)), x)), data)
    used = {node.op.name for node in topological_order([third])}
    assert {"csr_matmul", "sampled_matmul"} <= used
    assert not used & {"scatter_add", "gather"}
    dense = gn.scatter_add(gn.zeros(shape, "float64"), ([0, 0, 2, 2], indices), data)
    z = gn.sum((gn.transpose(dense) @ (dense @ x)) ** 2)
    other = gn.grad(gn.sum(gn.grad(gn.sum(gn.grad(z, data)), x)), data)
    one, two = run(list(feeds), [third, other], *feeds.values())
    np.testing.assert_allclose(one, two, rtol=1e-12)


@pytest.mark.parametrize("form", ["coo", "csr", "csc", "bsr", "lil", "dok", "dia"])
def test_matrices_of_scipy_are_taken_as_they_are(form):
    matrix = scipy.sparse.random_array((4, 5), density=0.4, rng=0).asformat(form)
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (5, 2))
    np.testing.assert_allclose(gn.evaluate(gn.csr(matrix) @ gn.constant(x)), matrix @ x)
    np.testing.assert_array_equal(gn.evaluate(gn.csr(matrix).todense()), matrix.toarray())


def test_arrays_and_nodes_multiply_from_the_left():
    a = gn.csr(([1.0, 2.0], [1, 0], [0, 1, 2]), (2, 2))
    for left in (np.array([3.0, 4.0], np.float32), [3.0, 4.0], gn.constant([3.0, 4.0])):
        assert gn.evaluate(left @ a).tolist() == [8.0, 3.0]
    with pytest.raises(gn.ShapeError, match=r"\(3,\) @ \(2, 2\), 3 != 2"):
        np.ones(3, np.float32) @ a
    with pytest.raises(gn.DTypeError):
        gn.constant([3.0, 4.0]) @ object()


def test_the_pattern_is_a_copy_and_equal_small_ones_are_one_node():
    indices = np.array([1, 0])
    x = gn.input("x", (2,))
    y = gn.csr(([1.0, 2.0], indices, [0, 1, 2]), (2, 2)) @ x
    indices[:] = 0
    assert gn.evaluate(y, {x: [3.0, 4.0]}).tolist() == [4.0, 6.0]
    assert gn.csr(([1.0, 2.0], [1, 0], [0, 1, 2]), (2, 2)) @ x is y


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_floats_are_summed_in_float32(dtype):
    count = 3000
    x = gn.input("x", (count, 1), dtype)
    data = gn.input("data", (count,), dtype)
    a = gn.csr((data, np.arange(count), [0, count]), (1, count))
    wide = gn.input("wide", (1, count), dtype)
    slope = gn.vjp(a @ gn.transpose(wide), data, gn.ones((1, 1), dtype))
    feeds = np.ones(count).astype(x.dtype), np.full((count, 1), 2.0).astype(x.dtype)
    total = run([data, x], a @ x, *feeds)
    assert (total.dtype, total.item()) == (x.dtype, np.array(6000.0).astype(x.dtype))
    assert run([data, wide], slope, feeds[0], feeds[1].T).tolist() == feeds[1].ravel().tolist()


@pytest.mark.parametrize("name", ["csr_matmul", "transposed", "sampled_matmul"])
def test_batching_is_a_stacked_loop(name):
    rng = np.random.default_rng(0)
    a = gn.csr((np.zeros(5), [2, 0, 1, 1, 1], [0, 2, 2, 5]), (3, 4))
    entries, rows, columns = (rng.uniform(-1.0, 1.0, (4, *each)) for each in ((5,), (3, 2), (4, 2)))
    op = REGISTRY["sampled_matmul" if name == "sampled_matmul" else "csr_matmul"]
    attrs = {"pattern": a.pattern}
    if op.name == "csr_matmul":
        attrs["transposed"] = name == "transposed"
    feeds = {
        "csr_matmul": (entries, columns),
        "transposed": (entries, rows),
        "sampled_matmul": (rows, columns),
    }[name]
    inputs = [gn.input(f"x{i}", each.shape[1:], "float64") for i, each in enumerate(feeds)]
    node = make_node(op, inputs, attrs)
    loop = [run(inputs, node, *each) for each in zip(*feeds, strict=True)]
    many = [gn.input(f"many{i}", each.shape, "float64") for i, each in enumerate(feeds)]
    # Leading axes of both operands are examples, ...
    np.testing.assert_allclose(run(many, make_node(op, many, attrs), *feeds), loop, rtol=1e-13)
    twice = [each.reshape(2, 2, *each.shape[1:]) for each in feeds]
    nodes = [gn.input(f"twice{i}", each.shape, "float64") for i, each in enumerate(twice)]
    found = run(nodes, make_node(op, nodes, attrs), *twice)
    np.testing.assert_allclose(found, np.reshape(loop, found.shape), rtol=1e-13)
    if op.axis_attrs is not None:
        return
    # ... and the batch rule brings them there; examples of the dense matrix alone are columns.
    for mapped in ((True, False), (False, True), (True, True)):
        pairs = list(zip(feeds, mapped, strict=True))
        chosen = [many[i] if is_mapped else inputs[i] for i, is_mapped in enumerate(mapped)]
        given = [feed if is_mapped else feed[0] for feed, is_mapped in pairs]
        found = run(chosen, op.batch(node, chosen, mapped), *given)
        for example in range(4):
            one = [feed[example if is_mapped else 0] for feed, is_mapped in pairs]
            np.testing.assert_allclose(found[example], run(inputs, node, *one), rtol=1e-13)


def test_named_columns_and_batches():
    x = gn.input("x", ("batch", 3, "n"))
    a = gn.csr(([1.0, 2.0], [2, 0], [0, 1, 2]), (2, 3))
    y = a @ x
    assert str(y.shape) == "(Dim(batch), 2, Dim(n))"
    feed = np.random.default_rng(0).uniform(-1.0, 1.0, (2, 3, 4)).astype(np.float32)
    matrix = np.array([[0, 0, 1], [2, 0, 0]], np.float32)
    np.testing.assert_allclose(run([x], y, feed), matrix @ feed, rtol=1e-6)
    with pytest.raises(gn.ShapeError, match="3 != n"):
        a @ gn.input("x", ("n",))


def test_what_is_no_matrix_is_refused():
    for given in (5, (1.0, 2.0), "abc"):
        with pytest.raises(gn.ArgumentError, match=r"\(data, indices, indptr\) or a scipy"):
            gn.csr(given)
    with pytest.raises(gn.ShapeError, match="row 1 begins at 2 and ends at 1"):
        gn.csr((np.ones(2), [0, 0], np.array([0, 2, 1, 2], np.uint8)), (3, 1))
    with pytest.raises(gn.ShapeError, match="must be two numbers"):
        gn.csr(([1.0], [0], [0, 1]))
    with pytest.raises(gn.DTypeError, match="bool"):
        gn.csr(([True], [0], [0, 1]), (1, 1))
    a = gn.csr(([1.0], [0], [0, 1]), (1, 1))
    with pytest.raises(gn.ArgumentError, match="two sparse matrices"):
        a @ a.T
    assert repr(gn.csr(([1.0], [0], [0, 1]), (1, 2))) == "<CSR (1, 2) float32, 1 entries>"
