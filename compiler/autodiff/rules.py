"""Where a node's derivative comes from.

From its operator's rule, from the other mode's rule transposed, or from its expansion: an
operator needs one rule in one mode; the other mode is that rule transposed. None stands for
zero throughout, and a list of tangents for those of a tuple of results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphnn.compiler.scans.rewriting import has_bodies
from graphnn.core.dtypes import is_inexact
from graphnn.core.errors import UnsupportedOpError
from graphnn.core.graph import topological_order
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.spec import Spec, TupleSpec
from graphnn.ops.control import PROJECT
from graphnn.ops.leaves import input

__all__ = ["differentiable_inputs", "jvp_of_node", "vjp_of_node"]


def differentiable_inputs(node: Node) -> tuple[Node, ...]:
    """The inputs through which derivatives flow."""
    first = node.op.first_differentiable
    return node.inputs[first:] if first else node.inputs


def jvp_of_node(node: Node, tangents: Sequence[Any]) -> Any:
    """The tangent of ``node`` from those of its inputs."""
    if node.op is PROJECT:
        (packed,) = tangents
        return None if packed is None else packed[node.attrs["index"]]
    if has_bodies(node):
        from graphnn.compiler.structured import jvp_of_structured

        return jvp_of_structured(node, tangents)
    tangent = node.op.jvp(node, tangents)
    if tangent is not NotImplemented:
        return tangent
    probe = _probe(node.spec)
    linear = node.op.vjp(node, _pack(node.spec, probe))
    if linear is not NotImplemented:
        # vjp is linear in the cotangent: transposed and applied to the tangents it is jvp.
        return _pack(node.spec, _transpose(node, linear, tangents, probe))
    from graphnn.compiler.autodiff.forward import push_forward

    given = zip(node.inputs, tangents, strict=True)
    seeds = {each: tangent for each, tangent in given if tangent is not None}
    return push_forward([_expansion(node)], seeds, boundary=node.inputs)[0]


def vjp_of_node(node: Node, cotangent: Any) -> Sequence[Any]:
    """A cotangent for every input of ``node``."""
    if has_bodies(node):
        from graphnn.compiler.structured import vjp_of_structured

        return vjp_of_structured(node, cotangent)
    cotangents = node.op.vjp(node, cotangent)
    if cotangents is not NotImplemented:
        return list(cotangents)
    first = node.op.first_differentiable
    probes = [_probe(each.spec) if i >= first else [] for i, each in enumerate(node.inputs)]
    linear = node.op.jvp(
        node, [_pack(each.spec, p) for each, p in zip(node.inputs, probes, strict=True)]
    )
    if linear is not NotImplemented:
        outputs, seeds = (
            (linear, cotangent) if isinstance(node.spec, TupleSpec) else ([linear], [cotangent])
        )
        transposed = iter(_transpose(node, outputs, seeds, [s for p in probes for s in p]))
        parts = [[next(transposed) for _ in probe] for probe in probes]
        return [_pack(each.spec, part) for each, part in zip(node.inputs, parts, strict=True)]
    from graphnn.compiler.autodiff.reverse import pull_back

    wanted = tuple(dict.fromkeys(node.inputs))
    found = pull_back([_expansion(node)], [cotangent], wanted, boundary=node.inputs)
    by_input = dict(zip(wanted, found, strict=True))
    # An input given twice gets all of its cotangent at its first place.
    return [by_input.pop(each, None) for each in node.inputs]


def _expansion(node: Node) -> Node:
    expansion = node.op.expand(*node.inputs, **node.attrs)
    if expansion is None:
        known = provenance(node)
        raise UnsupportedOpError(
            f"{node.op.label(node)} has no derivative",
            hint="gn.stop_gradient(x) takes it as a constant; gn.custom_vjp gives it a rule",
            where=known.where,
        )
    return expansion


def _probe(spec: Spec) -> list[Node | None]:
    """A symbol for every float or complex array of a spec: what a rule is linear in."""
    elements = spec.elements if isinstance(spec, TupleSpec) else (spec,)
    return [
        input("direction", each.shape, each.dtype) if is_inexact(each.dtype) else None
        for each in elements
    ]


def _pack(spec: Spec, parts: Sequence[Node | None]) -> Any:
    """The parts of a (co)tangent as a rule expects them; None if there are none."""
    if isinstance(spec, TupleSpec):
        return list(parts) if parts else None
    return parts[0] if parts else None


def _transpose(
    node: Node, outputs: Sequence[Any], seeds: Sequence[Any], probe: Sequence[Node | None]
) -> list[Node | None]:
    """Transpose ``outputs``, linear in ``probe``, and apply the result to ``seeds``."""
    from graphnn.compiler.autodiff.reverse import pull_back

    pairs = [
        (output, seed)
        for output, seed in zip(outputs, seeds, strict=True)
        if output is not None and seed is not None
    ]
    symbols = [symbol for symbol in probe if symbol is not None]
    known = (node, *node.inputs)
    result = pull_back(
        [output for output, _ in pairs], [seed for _, seed in pairs], symbols, boundary=known
    )
    remaining = topological_order(
        (each for each in result if each is not None),
        boundary=(*known, *(seed for _, seed in pairs)),
    )
    if not set(symbols).isdisjoint(remaining):
        raise UnsupportedOpError(
            f"the derivative rule of {node.op.label(node)} is not linear in its direction, "
            "so the other mode cannot be made from it",
            hint="a rule may scale and add what arrives, not square or compare it",
            where=provenance(node).where,
        )
    found = iter(result)
    return [None if symbol is None else next(found) for symbol in probe]
