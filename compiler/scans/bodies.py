"""Passes over what is inside of nodes: the bodies of scans are graphs like the one they are in."""

from __future__ import annotations

from dataclasses import replace
from functools import wraps

from graphnn.compiler.driver import Driver, Pass
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph, with_inputs
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import made_by

__all__ = ["everywhere"]


def everywhere(work: Pass) -> Pass:
    """The pass that rewrites the graph of a unit, and before it the bodies inside, all the way in.

    For a pass that changes the graph alone, and no spec.
    """

    @wraps(work)
    def in_bodies_too(unit: Unit, driver: Driver) -> Unit:
        def rewritten(body: Graph) -> Graph:
            inner = replace(unit, graph=body, updated=())
            return in_bodies_too(inner, driver).graph

        def inside(node: Node, inputs: tuple[Node, ...]) -> Node:
            if node.op.name != "scan":
                return with_inputs(node, inputs)
            body = rewritten(node.attrs["body"])
            if body is node.attrs["body"]:
                return with_inputs(node, inputs)
            with made_by(work.__name__, node):
                return make_node(node.op, inputs, {**node.attrs, "body": body})

        return work(driver.with_graph(unit, unit.graph.map(inside)), driver)

    return in_bodies_too
