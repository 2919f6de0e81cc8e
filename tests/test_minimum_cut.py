"""Minimum cuts beside those of networkx."""

import math

import networkx as nx
import numpy as np
import pytest

from graphnn.compiler.scans.minimum_cut import minimum_cut


@pytest.mark.parametrize("seed", range(40))
def test_cuts_of_random_networks(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 12))
    pairs = rng.integers(0, n, (int(rng.integers(1, 40)), 2)).tolist()
    edges = [(a, b, float(rng.integers(1, 9))) for a, b in pairs if a != b]
    network = nx.DiGraph()
    network.add_nodes_from(range(n))
    for a, b, capacity in edges:
        before = network.get_edge_data(a, b, {"capacity": 0.0})["capacity"]
        network.add_edge(a, b, capacity=before + capacity)
    cost, (side, _) = nx.minimum_cut(network, 0, n - 1)
    found = minimum_cut(edges, 0, n - 1)
    assert 0 in found
    assert n - 1 not in found
    assert sum(c for a, b, c in edges if a in found and b not in found) == cost
    known = {node for edge in edges for node in edge[:2]}
    assert found & known == set(side) & known


def test_what_must_not_be_cut():
    edges = [("s", "a", math.inf), ("a", "b", 5.0), ("b", "t", math.inf)]
    assert minimum_cut(edges, "s", "t") == {"s", "a"}
    with pytest.raises(ValueError, match="cannot be cut"):
        minimum_cut([("s", "a", math.inf), ("a", "t", math.inf)], "s", "t")


def test_nothing_flows():
    assert minimum_cut([], "s", "t") == {"s"}
