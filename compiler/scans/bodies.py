"""Passes over what is inside of nodes: bodies are graphs like the one they are in."""

from __future__ import annotations

from dataclasses import replace
from functools import wraps

from graphnn.compiler.driver import Driver, Pass
from graphnn.compiler.scans.rewriting import has_bodies, has_scans
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph, with_inputs
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import made_by

__all__ = ["everywhere", "inside_first", "outside_first", "where_scans_are"]


def everywhere(work: Pass) -> Pass:
    """The pass that rewrites the graph of a unit, and before it the bodies inside, all the way in.

    For a pass that changes the graph alone, and no spec.
    """

    @wraps(work)
    def in_bodies_too(unit: Unit, driver: Driver) -> Unit:
        return work(_with_bodies(unit, in_bodies_too, driver), driver)

    return in_bodies_too


def outside_first(work: Pass) -> Pass:
    """As `everywhere`, but the bodies of what the pass leaves are rewritten after it."""

    @wraps(work)
    def then_in_bodies(unit: Unit, driver: Driver) -> Unit:
        return _with_bodies(work(unit, driver), then_in_bodies, driver)

    return then_in_bodies


def _with_bodies(unit: Unit, work: Pass, driver: Driver) -> Unit:
    """The unit with the bodies in its graph rewritten."""
    changed: dict[Node, dict[str, Graph]] = {}
    for node in filter(has_bodies, unit.graph.nodes):
        bodies = _bodies_of(node)
        made = {name: work(_unit_of(body, unit), driver).graph for name, body in bodies.items()}
        if any(made[name] is not body for name, body in bodies.items()):
            changed[node] = made
    if not changed:
        return unit

    def inside(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node not in changed:
            return with_inputs(node, inputs)
        with made_by(work.__name__, node):
            return make_node(node.op, inputs, {**node.attrs, **changed[node]})

    return driver.with_graph(unit, unit.graph.map(inside))


def where_scans_are(work: Pass) -> Pass:
    """The pass, for graphs alone that have scans."""

    @wraps(work)
    def for_some(unit: Unit, driver: Driver) -> Unit:
        return work(unit, driver) if has_scans(unit.graph) else unit

    return for_some


def inside_first(work: Pass) -> Pass:
    """The pass that works on the units of the bodies inside, all the way in, and then on a unit."""

    @wraps(work)
    def in_bodies_too(unit: Unit, driver: Driver) -> Unit:
        found = {body for node in unit.graph.nodes for body in _bodies_of(node).values()}
        if not found:
            return work(unit, driver)
        bodies = {
            body: in_bodies_too(unit.bodies.get(body) or _unit_of(body, unit), driver)
            for body in found
        }
        return work(replace(unit, bodies=bodies), driver)

    return in_bodies_too


def _bodies_of(node: Node) -> dict[str, Graph]:
    """The bodies of a node, by the names of its attributes."""
    return {name: node.attrs[name] for name in node.op.body_attrs}


def _unit_of(body: Graph, unit: Unit) -> Unit:
    return Unit(body, options=unit.options, sizes=unit.sizes)
