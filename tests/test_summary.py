"""Module.summary: what every layer gives, and what it takes of memory."""

from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError


def rows_of(summary: Any) -> dict[str, Any]:
    return {row.path: row for row in summary.rows}


def mlp() -> gn.nn.Sequential:
    return gn.nn.Sequential(gn.nn.Dense(64, 32), gn.nn.ReLU(), gn.nn.Dense(32, 10))


def test_the_table_of_a_small_net() -> None:
    assert str(mlp().summary((16, 64))).splitlines() == [
        "layer       kind        output    parameters  parameter memory  activation memory",
        "─────────────────────────────────────────────────────────────────────────────────",
        "Sequential  Sequential  (16, 10)                                            640 B",
        "  layers.0  Dense       (16, 32)       2,080          8.12 KiB           2.00 KiB",
        "  layers.1  ReLU        (16, 32)                                         2.00 KiB",
        "  layers.2  Dense       (16, 10)         330          1.29 KiB              640 B",
        "─────────────────────────────────────────────────────────────────────────────────",
        "parameters: 2,410 (9.41 KiB)",
        "  trainable: 2,410",
        "  not trainable: 0",
        "activations: 4.62 KiB",
        "for x: f32[16, 64]",
    ]


def test_sizes_may_have_names() -> None:
    summary = mlp().summary(("batch", 64))
    assert "128*batch B" in str(summary)
    assert str(summary.output_bytes) == "296*batch"
    assert repr(summary) == "<Summary of Sequential: 4 layers, 2,410 parameters>"


def test_totals_are_those_of_the_parameters() -> None:
    model = gn.nn.Sequential(gn.nn.LSTM(6, 8, num_layers=2, bidirectional=True), gn.nn.Dense(16, 3))
    summary = model.summary(("time", "batch", 6))
    assert summary.parameters == sum(each.array.size for each in model.parameters())
    assert summary.parameter_bytes == sum(each.array.nbytes for each in model.parameters())


def test_shared_weights_count_once() -> None:
    class Tied(gn.nn.Module):
        def __init__(self) -> None:
            self.a, self.b = gn.nn.Dense(8, 8), gn.nn.Dense(8, 8)
            self.b.weight = self.a.weight

        def forward(self, x: Any) -> gn.Node:
            return self.b(self.a(self.a(x)))

    summary = Tied().summary((4, 8))
    rows = rows_of(summary)
    assert summary.parameters == 64 + 8 + 8
    assert rows["a"].parameters == 72
    assert rows["b"].parameters == 8
    assert rows["b"].shared == ("weight = a.weight",)
    assert rows["a"].calls == 2
    assert summary.output_bytes == 3 * 4 * 8 * 4  # what both calls of a give is kept
    assert "8 + shared: weight = a.weight" in str(summary)
    assert "(4, 8) (× 2)" in str(summary)


def test_what_is_not_trained_is_told() -> None:
    class Scaled(gn.nn.Module):
        def __init__(self) -> None:
            self.parts = {"scale": [gn.parameter(np.ones(5, np.float32), trainable=False)]}
            self.shift = gn.parameter(np.zeros(5))

        def forward(self, x: Any) -> gn.Node:
            return x * self.parts["scale"][0] + gn.cast(self.shift, "float32")

    summary = Scaled().summary((2, 5))
    assert (summary.parameters, summary.trainable, summary.frozen) == (10, 5, 5)
    assert summary.parameter_bytes == 5 * 4 + 5 * 8


def test_a_recurrent_net_tells_its_sequences_and_the_state_of_a_step() -> None:
    net = gn.nn.LSTM(6, 8, return_sequences=True)
    summary = net.summary((20, 4, 6))
    rows = rows_of(summary)
    assert rows["layers.0"].output == (gn.TensorSpec((20, 4, 8)),)
    cell = rows["layers.0.cell"]
    assert cell.in_step
    assert cell.output == (gn.TensorSpec((4, 8)), gn.TensorSpec((4, 8)))
    assert "(each step)" in str(summary)
    # The sequence counts, a step of it does not.
    assert rows["layers.0"].is_leaf
    assert not cell.is_leaf


def test_sequences_of_which_the_last_state_is_read_are_no_steps() -> None:
    """The deeper scan gives all its states, though the graph reads the last alone."""
    net = gn.nn.Sequential(gn.nn.GRU(6, 8, num_layers=2, bidirectional=True), gn.nn.Dense(16, 3))
    summary = net.summary((20, 4, 6))
    in_step = {row.path for row in summary.rows if row.in_step}
    assert in_step == {row.path for row in summary.rows if row.path.endswith(".cell")}
    sequences = [row for row in summary.rows if row.kind == "Recurrent"]
    assert len(sequences) == 4
    assert all(row.is_leaf for row in sequences)
    dropped, classes = 20 * 4 * 16, 4 * 3
    assert summary.output_bytes == 4 * (4 * (20 * 4 * 8) + dropped + classes)


def test_inputs_that_are_not_read_are_no_steps() -> None:
    """A layer whose result is thrown away reads an input that the graph does not have."""

    class Wasteful(gn.nn.Module):
        def __init__(self) -> None:
            self.unused, self.used = gn.nn.Dense(2, 2), gn.nn.Dense(3, 3)

        def forward(self, x: Any, y: Any) -> gn.Node:
            self.unused(x)
            return self.used(y)

    assert not any(row.in_step for row in Wasteful().summary(((1, 2), (1, 3))).rows)


def test_depth_gathers_what_lies_deeper() -> None:
    net = gn.nn.LSTM(6, 8, num_layers=3)
    whole, shallow = net.summary((5, 2, 6)), net.summary((5, 2, 6), depth=1)
    assert whole.parameters == shallow.parameters
    assert [row.path for row in shallow.rows] == ["", "layers.0", "layers.1", "layers.2", "dropout"]
    assert rows_of(shallow)["layers.0"].parameters == rows_of(whole)["layers.0.cell"].parameters
    (only,) = net.summary((5, 2, 6), depth=0).rows
    assert only.parameters == whole.parameters
    with pytest.raises(ArgumentError, match="depth=-1"):
        net.summary((5, 2, 6), depth=-1)


def test_layers_that_were_not_called_have_no_output() -> None:
    class Spare(gn.nn.Module):
        def __init__(self) -> None:
            self.used, self.spare = gn.nn.Dense(2, 2), gn.nn.Dense(7, 7)

        def forward(self, x: Any) -> gn.Node:
            return self.used(x)

    rows = rows_of(Spare().summary((1, 2)))
    assert rows["spare"].output == ()
    assert rows["spare"].parameters == 56


def test_notebooks_get_a_table_without_markup_in_names() -> None:
    class Odd(gn.nn.Module):
        def __init__(self) -> None:
            setattr(self, "<b>", gn.nn.Dense(2, 2))

        def forward(self, x: Any) -> gn.Node:
            return getattr(self, "<b>")(x)

    html = Odd().summary((1, 2))._repr_html_()
    assert html.startswith("<table>")
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_a_summary_builds_a_graph_and_changes_nothing() -> None:
    model = mlp()
    before = model.state_dict()
    model.summary((16, 64))
    for name, value in model.state_dict().items():
        assert np.array_equal(value, before[name])


def test_calls_are_noted_only_while_somebody_looks() -> None:
    from graphnn.nn.module import noting_calls

    dense, x = gn.nn.Dense(2, 2), gn.input("x", (1, 2))
    with noting_calls() as outer:
        dense(x)
        with noting_calls() as inner:
            dense(x)
    dense(x)
    assert len(outer) == len(inner) == 1
