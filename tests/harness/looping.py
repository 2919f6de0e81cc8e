"""Programs with scans beside the reference, on every executor; what is left in their bodies."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import graphnn as gn
from graphnn.compiler.program import Program
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.structure import flatten

EXECUTORS: dict[str, dict[str, Any]] = {
    "reference": {"backend": "reference", "optimize": "O0"},
    "apart": {"optimize": "O0"},
    "exact": {"optimize": "O1"},
    "interpreted": {"native": "never"},
    "native": {"native": "now"},
}
"""Beside optimisation and native code, the executor that is right by being simple."""

TOLERANCE = {"f": 3e-5, "c": 3e-5}
"""Of numbers with a fraction, for sums over time are added in another order."""


def assert_executors_agree(
    inputs: Sequence[Node],
    outputs: Any,
    arrays: Sequence[Any],
    updates: Mapping[Any, Node] | None = None,
) -> Program:
    """Results and new state of two runs are the same everywhere; gives the native program.

    Results of all parameters begin at their present values, which are put back.
    """
    updates = dict(updates or {})
    start = {parameter: parameter.value.copy() for parameter in updates}
    expected: list[Any] = []
    for name, options in EXECUTORS.items():
        program = gn.compile(list(inputs), outputs, updates, verify=True, **options)
        found = []
        for _ in range(2):
            found += [np.array(each) for each in flatten(program(*arrays))]
            found += [parameter.value.copy() for parameter in updates]
        for parameter, value in start.items():
            parameter.value = value
        expected = expected or found
        for got, wanted in zip(found, expected, strict=True):
            assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), name
            loose = TOLERANCE.get(wanted.dtype.kind, 0.0)
            loose = max(loose, float(np.finfo(wanted.dtype).eps) * 4) if loose else 0.0
            np.testing.assert_allclose(got, wanted, rtol=loose, atol=loose, err_msg=name)
    return program


def drawn(nodes: Sequence[Node], seed: int = 0) -> list[Any]:
    """Arrays to feed: small numbers of either sign."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=each.shape).astype(each.dtype) for each in nodes]


def rules(program: Program) -> Counter[str]:
    """How often each rule was applied."""
    return Counter(each.rule for record in program.report.passes for each in record.rewrites)


def scans_of(program: Program) -> list[Node]:
    """The scans that are left, in order."""
    return [node for node in program.unit.graph.nodes if node.op.name == "scan"]


def ops_of(graph: Graph) -> Counter[str]:
    """How many nodes of each operator a graph has."""
    return Counter(node.op.name for node in graph.nodes)


def body_of(program: Program) -> Graph:
    """The body of the only scan."""
    (scan,) = scans_of(program)
    body: Graph = scan.attrs["body"]
    return body


def carries_of(program: Program) -> int:
    """How many carries the only scan has."""
    (scan,) = scans_of(program)
    count: int = scan.attrs["n_carry"]
    return count
