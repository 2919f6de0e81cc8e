"""The derivatives users ask for: gradients, Jacobians, Hessians and products with them.

Each is a function from nodes to nodes; nothing runs until a program is compiled.

The sweeps conjugate nothing. Here is the border at which complex cotangents are conjugated, so
that users get gradients to descend along: see ``docs/complex.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphnn.compiler.autodiff.forward import push_forward
from graphnn.compiler.autodiff.functions import of_functions_too
from graphnn.compiler.autodiff.reverse import pull_back
from graphnn.compiler.autodiff.stabilize import stabilize
from graphnn.compiler.batching import batch_nodes
from graphnn.compiler.garbage import without_collections
from graphnn.core.dtypes import is_complex, is_inexact
from graphnn.core.errors import DTypeError, GradientError, ShapeError
from graphnn.core.graph import topological_order
from graphnn.core.node import Node
from graphnn.core.provenance import provenance, set_gradient_of
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.core.structure import flatten, flatten_like, unflatten
from graphnn.core.text import word_of
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.constants import constant, zeros_like
from graphnn.ops.control import conjugated
from graphnn.ops.creation import eye, zeros
from graphnn.ops.leaves import input
from graphnn.ops.linear_tier import as_weak_as
from graphnn.ops.movement import moveaxis
from graphnn.ops.operands import as_node

__all__ = [
    "gauss_newton_product",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "value_and_grad",
    "vjp",
]


@of_functions_too
def grad(loss: Node, wrt: Any, *, allow_unused: bool = False) -> Any:
    """The gradient of a scalar with respect to nodes, by reverse mode.

    Parameters
    ----------
    loss : Node or callable
        0-d, floating. It may depend on complex numbers, but must be real itself. Given a
        function, ``grad(f, 0)`` is the function whose result is the gradient of ``f`` with
        respect to its first argument; that may be a nested structure. With ``has_aux=True``
        the function gives ``(loss, aux)``, and its gradient ``(gradient, aux)``.
    wrt : Node, or nested list, tuple or dict of them
        Inputs, parameters or any nodes between; for a function the position of an argument,
        or a tuple of several.
    allow_unused : bool, default False
        Give zeros for nodes that ``loss`` does not depend on instead of an error. Where it does
        depend on them, but through operators that are flat (floor, comparisons, stop_gradient),
        the gradient is 0 anyway.

    Returns
    -------
    same structure as ``wrt``
        Nodes of the shapes and dtypes of ``wrt``. They can be differentiated again. For complex
        ``z = a + 1j * b``, ``dL/da + 1j * dL/db``: the direction of steepest ascent.

    Raises
    ------
    ShapeError
        If ``loss`` is not a scalar.
    DTypeError
        If ``loss`` is not floating, or one of ``wrt`` neither floating nor complex.
    GradientError
        If ``loss`` does not depend on one of ``wrt``.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(3,))
    >>> g = gn.grad(gn.sum(x**2), x)
    >>> gn.evaluate(g, {x: [1.0, 2.0, 3.0]})
    array([2., 4., 6.], dtype=float32)
    >>> gn.evaluate(gn.grad(lambda x: gn.sum(x**2))(x), {x: [1.0, 2.0, 3.0]})
    array([2., 4., 6.], dtype=float32)
    """
    _require_inexact("grad", loss)
    if is_complex(loss.dtype):
        raise DTypeError(
            f"grad: {word_of(loss)} is {loss.spec}; a gradient is that of a real number",
            hint="take gn.real, gn.abs or another real function of it, or use gn.vjp",
        )
    if loss.shape != ():
        raise ShapeError(
            f"grad: the gradient of a scalar was asked for, but {word_of(loss)} has shape "
            f"{shape_text(loss.shape)}",
            hint="sum it (gn.sum, gn.mean), or use gn.vjp or gn.jacobian",
        )
    return _pulled("grad", loss, wrt, constant(1.0, loss.dtype), allow_unused)


@of_functions_too
def value_and_grad(loss: Node, wrt: Any, *, allow_unused: bool = False) -> tuple[Node, Any]:
    """A scalar and its gradient: ``(loss, grad(loss, wrt))``, ready as outputs of a program.

    Of a function that gives ``(loss, aux)``, with ``has_aux=True``: ``((loss, aux), gradient)``.
    """
    return loss, grad(loss, wrt, allow_unused=allow_unused)


def vjp(outputs: Any, wrt: Any, cotangents: Any, *, allow_unused: bool = False) -> Any:
    """Vector-Jacobian product, by reverse mode.

    Parameters
    ----------
    outputs : Node or nested structure of Node
    wrt : Node or nested structure of Node
        If one of them depends on another, each gets its total derivative.
    cotangents : same structure as ``outputs``
        Of their shapes and dtypes; a Python number or array is taken as a constant.
    allow_unused : bool, default False

    Returns
    -------
    same structure as ``wrt``
        The adjoint of :func:`jvp` under the inner product ``real(sum(conj(u) * v))``.

    Raises
    ------
    ShapeError, DTypeError, GradientError
        As :func:`grad`.
    """
    return _pulled("vjp", outputs, wrt, cotangents, allow_unused)


@without_collections()
def _pulled(what: str, outputs: Any, wrt: Any, cotangents: Any, allow_unused: bool) -> Any:
    """Reverse mode, in the structure of ``wrt``; complex cotangents are conjugated at its ends."""
    results, leaves = _nodes(what, outputs), _nodes(what, wrt)
    seeds = _directions(what, results, outputs, cotangents, "cotangent")
    for node in [*results, *leaves]:
        _require_inexact(what, node)
    found = pull_back(stabilize(results, leaves), conjugated(seeds), leaves)
    if not allow_unused:
        _require_used(results, leaves, found)
    ends = conjugated(found)
    for leaf, each in zip(leaves, ends, strict=True):
        if each is not None and leaf.name is not None:
            set_gradient_of(each, leaf.name)
    return unflatten(
        wrt,
        [_zeros(leaf) if each is None else each for leaf, each in zip(leaves, ends, strict=True)],
    )


def jvp(outputs: Any, wrt: Any, tangents: Any) -> Any:
    """Jacobian-vector product, by forward mode.

    Parameters
    ----------
    outputs : Node or nested structure of Node
    wrt : Node or nested structure of Node
        If one of them depends on another, it is held constant there.
    tangents : same structure as ``wrt``
        Of their shapes and dtypes.

    Returns
    -------
    same structure as ``outputs``
        Zeros where nothing arrives.

    Examples
    --------
    >>> import graphnn as gn
    >>> x, v = gn.input("x", shape=(2,)), gn.input("v", shape=(2,))
    >>> dy = gn.jvp(x**2, x, v)
    >>> gn.evaluate(dy, {x: [1.0, 2.0], v: [1.0, 10.0]})
    array([ 2., 40.], dtype=float32)
    """
    results, leaves = _nodes("jvp", outputs), _nodes("jvp", wrt)
    seeds = _directions("jvp", leaves, wrt, tangents, "tangent")
    for node in leaves:
        _require_inexact("jvp", node)
    with without_collections():
        found = push_forward(stabilize(results, leaves), dict(zip(leaves, seeds, strict=True)))
    return unflatten(
        outputs,
        [
            _zeros(result) if each is None else each
            for result, each in zip(results, found, strict=True)
        ],
    )


def _zeros(node: Node) -> Node:
    """The derivative where nothing arrives, as weak as the node."""
    zeros: Node = as_weak_as(node, zeros_like(node))
    return zeros


@of_functions_too
def jacobian(output: Node, wrt: Node) -> Node:
    """The Jacobian of a node with respect to another.

    Parameters
    ----------
    output : Node or callable
        Given a function, ``jacobian(f, 0)`` is the function whose result is the Jacobian of
        ``f`` with respect to its first argument.
    wrt : Node or int

    Returns
    -------
    Node
        Of shape ``output.shape + wrt.shape``. :func:`jacfwd` if ``wrt`` is known to have fewer
        elements than ``output``, else :func:`jacrev`; both give the same numbers.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(2,))
    >>> gn.evaluate(gn.jacobian(x[0] * x, x), {x: [2.0, 3.0]})
    array([[4., 0.],
           [3., 2.]], dtype=float32)
    """
    for node in (output, wrt):
        _require_real("jacobian", node)
    rows, columns = output.size, wrt.size
    is_tall = isinstance(rows, int) and isinstance(columns, int) and columns < rows
    return jacfwd(output, wrt) if is_tall else jacrev(output, wrt)


@of_functions_too
def jacfwd(output: Node, wrt: Node) -> Node:
    """The Jacobian by forward mode: one sweep, batched over the elements of ``wrt``.

    See :func:`jacobian`; good where ``wrt`` has fewer elements than ``output``.
    """
    for node in (output, wrt):
        _require_real("jacfwd", node)
    shape = output.shape + wrt.shape
    if wrt.size == 0:
        return zeros(shape, output.dtype)
    direction = input("direction", wrt.shape, wrt.dtype)
    columns = _along_basis(jvp(output, wrt, direction), direction)
    return to_shape(moveaxis(columns, 0, -1), shape)


@of_functions_too
def jacrev(output: Node, wrt: Node) -> Node:
    """The Jacobian by reverse mode: one sweep, batched over the elements of ``output``.

    See :func:`jacobian`; good where ``output`` has no more elements than ``wrt``.
    """
    for node in (output, wrt):
        _require_real("jacrev", node)
    shape = output.shape + wrt.shape
    if output.size == 0:
        return zeros(shape, output.dtype)
    direction = input("direction", output.shape, output.dtype)
    rows = _along_basis(vjp(output, wrt, direction, allow_unused=True), direction)
    return to_shape(rows, shape)


def _along_basis(product: Node, direction: Node) -> Node:
    """A product with the Jacobian, for every unit array in place of a direction."""
    size = direction.size
    basis = to_shape(eye(size, dtype=direction.dtype), (size, *direction.shape))
    return batch_nodes([product], {direction: basis})[0]


@of_functions_too
def hessian(loss: Node, wrt: Node) -> Node:
    """The Hessian of a scalar, forward over reverse; of shape ``wrt.shape + wrt.shape``.

    Raises
    ------
    DTypeError
        If ``wrt`` is complex: use :func:`hvp`.
    """
    return jacfwd(grad(loss, wrt, allow_unused=True), wrt)


def hvp(loss: Node, wrt: Any, tangents: Any) -> Any:
    """Hessian-vector product, forward over reverse: as cheap as a few gradients.

    Parameters
    ----------
    loss : Node
        0-d.
    wrt : Node or nested structure of Node
    tangents : same structure as ``wrt``

    Returns
    -------
    same structure as ``wrt``
    """
    return jvp(grad(loss, wrt, allow_unused=True), wrt, tangents)


def gauss_newton_product(loss: Node, outputs: Any, wrt: Any, tangents: Any) -> Any:
    """Product with the generalised Gauss-Newton matrix ``J' H J``.

    ``J`` is the Jacobian of ``outputs`` (a network's) with respect to ``wrt``, ``H`` the
    Hessian of ``loss`` with respect to ``outputs``. Source: N. Schraudolph, Fast curvature
    matrix-vector products for second-order gradient descent (2002).

    Parameters
    ----------
    loss : Node
        0-d; a function of ``outputs``.
    outputs : Node or nested structure of Node
    wrt : Node or nested structure of Node
    tangents : same structure as ``wrt``

    Returns
    -------
    same structure as ``wrt``
    """
    through = jvp(outputs, wrt, tangents)
    curved = hvp(loss, outputs, through)
    return vjp(outputs, wrt, curved)


# ------------------------------------------------------------------------------- what may fail


def _nodes(what: str, tree: Any) -> list[Node]:
    nodes = flatten(tree)
    for node in nodes:
        if not isinstance(node, Node):
            raise _no_node(what, node)
    return nodes


def _no_node(what: str, value: Any) -> GradientError:
    hint = f"call the function: gn.{what}(f(x), x, ...)" if callable(value) else None
    return GradientError(f"{what}: expected a node, not {type(value).__name__}", hint=hint)


def _require_inexact(what: str, node: Node) -> None:
    if not isinstance(node, Node):
        raise _no_node(what, node)
    if not isinstance(node.spec, TensorSpec) or not is_inexact(node.spec.dtype):
        raise DTypeError(
            f"{what}: {word_of(node)} is {node.spec}; derivatives are of floats",
            hint="cast integer inputs to float32 before they enter the function",
        )


def _require_real(what: str, node: Node) -> None:
    _require_inexact(what, node)
    if is_complex(node.dtype):
        raise DTypeError(
            f"{what}: {word_of(node)} is {node.spec}; of complex numbers it is not one "
            "matrix unless the function is holomorphic",
            hint="use gn.jvp or gn.vjp, or differentiate real and imaginary parts",
        )


def _directions(what: str, nodes: Sequence[Node], tree: Any, given: Any, word: str) -> list[Node]:
    """For every node, which lies somewhere in ``tree``, what lies there in ``given``."""
    try:
        values = flatten_like(tree, given)
    except ValueError as error:
        raise ShapeError(
            f"{what}: {len(nodes)} {word}s are needed, in the structure of their nodes, "
            f"but there is {error}"
        ) from None
    directions = []
    for node, value in zip(nodes, values, strict=True):
        if not isinstance(value, Node) and any(isinstance(each, Node) for each in flatten(value)):
            raise ShapeError(
                f"{what}: the {word} of {word_of(node)} is a {type(value).__name__} of nodes",
                hint=f"give {word}s in the structure of their nodes: x and v, or [x] and [v]",
            )
        direction = as_node(value, node.dtype)
        if direction.spec != node.spec:
            raise ShapeError(
                f"{what}: the {word} of {word_of(node)} must be {node.spec}, not {direction.spec}"
            )
        directions.append(direction)
    return directions


def _require_used(
    results: Sequence[Node], leaves: Sequence[Node], found: Sequence[Node | None]
) -> None:
    unused = [leaf for leaf, each in zip(leaves, found, strict=True) if each is None]
    if not unused:
        return
    # Through floor, comparisons and the like the derivative exists and is 0.
    reached = set(topological_order(results))
    unused = [leaf for leaf in unused if leaf not in reached]
    if not unused:
        return
    listing = ", ".join(
        f"{word_of(leaf)} ({where})" if (where := provenance(leaf).where) else word_of(leaf)
        for leaf in unused
    )
    raise GradientError(
        f"{', '.join(map(word_of, results))} does not depend on {listing}",
        hint="drop it, or pass allow_unused=True for zeros",
    )
