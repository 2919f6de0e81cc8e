"""What a model is made of: every layer with its output, its parameters and its memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from graphnn.core.dims import Size
from graphnn.core.errors import ArgumentError
from graphnn.core.graph import topological_order
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.core.state import Parameter
from graphnn.core.text import counted, size_text
from graphnn.nn.calls import Call, call_of
from graphnn.nn.module import Module

__all__ = ["Row", "Summary", "summary_of"]

HEADINGS = ("layer", "kind", "output", "parameters", "parameter memory", "activation memory")
STEP = "each step"


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes
    ----------
    path : str
        Where it hangs in the model; empty for the model itself.
    kind : str
        Its class.
    output : tuple of TensorSpec
        What its latest call gave; empty if it was not called.
    calls : int
        How often it was called; within a scan, the calls that built its step.
    in_step : bool
        Whether its output is that of one step of a scan.
    parameters : int
        Numbers in parameters of its own, not of layers within; those of another row are not
        counted again.
    frozen : int
        How many of them are not trained.
    parameter_bytes : int
    shared : tuple of str
        Names of its parameters that are counted in another row: ``weight = token.weight``.
    is_leaf : bool
        Whether it called no other layer: outputs of these are what the totals count.
    """

    path: str
    kind: str
    output: tuple[TensorSpec, ...]
    calls: int
    in_step: bool
    parameters: int
    frozen: int
    parameter_bytes: int
    shared: tuple[str, ...]
    is_leaf: bool

    @property
    def output_bytes(self) -> Size:
        """Bytes of its output; with named dimensions as long as they have no numbers."""
        total: Size = 0
        for spec in self.output:
            total = total + spec.size * spec.dtype.itemsize
        return total


@dataclass(frozen=True, repr=False)
class Summary:
    """A model's layers as a table: ``print(summary)``; notebooks show it.

    Attributes
    ----------
    name : str
        The model's class.
    inputs : mapping of str to TensorSpec
    rows : tuple of Row
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    rows: tuple[Row, ...]

    @property
    def parameters(self) -> int:
        """Numbers in all parameters, shared ones once."""
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self) -> int:
        """Those of them that are trained."""
        return self.parameters - self.frozen

    @property
    def frozen(self) -> int:
        """Those of them that are not."""
        return sum(row.frozen for row in self.rows)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all parameters."""
        return sum(row.parameter_bytes for row in self.rows)

    @property
    def output_bytes(self) -> Size:
        """Bytes of what all layers give that call no others; of a step of a scan, once.

        About what training keeps for the backward pass; ``program.memory`` knows it exactly.
        """
        total: Size = 0
        for row in self.rows:
            if row.is_leaf:
                total = total + row.output_bytes * row.calls
        return total

    def __str__(self) -> str:
        cells = self._table()
        widths = [max(map(len, column)) for column in zip(HEADINGS, *cells, strict=True)]
        rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [_line(HEADINGS, widths), rule, *(_line(row, widths) for row in cells), rule]
        return "\n".join([*lines, *self._totals()])

    def _table(self) -> list[tuple[str, ...]]:
        """The texts of all rows; a layer stands indented below the one that holds it."""
        known = {row.path for row in self.rows}
        table = []
        for row in self.rows:
            holders = [outer for outer in _around(row.path) if outer in known]
            name = row.path.removeprefix(f"{holders[-1]}.") if holders else self.name
            table.append(("  " * len(holders) + name, *_cells(row)))
        return table

    def _totals(self) -> list[str]:
        given = ", ".join(f"{name}: {spec}" for name, spec in self.inputs.items())
        return [
            f"parameters: {self.parameters:,} ({size_text(self.parameter_bytes)})",
            f"  trainable: {self.trainable:,}",
            f"  not trainable: {self.frozen:,}",
            f"activations: {size_text(self.output_bytes)}",
            f"for {given}",
        ]

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{escape(each)}</th>" for each in HEADINGS)
        body = "".join(
            "<tr>" + "".join(_cell_html(place, text) for place, text in enumerate(cells)) + "</tr>"
            for cells in self._table()
        )
        totals = "<br>".join(escape(line.strip()) for line in self._totals())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{totals}</p>"

    def __repr__(self) -> str:
        return (
            f"<Summary of {self.name}: {counted(len(self.rows), 'layer')}, "
            f"{counted(self.parameters, 'parameter')}>"
        )


NUMBERS_FROM = 3
"""Columns from here on are numbers, at the right of their cells."""


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        text.rjust(width) if place >= NUMBERS_FROM else text.ljust(width)
        for place, (text, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _cell_html(place: int, text: str) -> str:
    side = "right" if place >= NUMBERS_FROM else "left"
    return f"<td style='text-align:{side};white-space:pre'>{escape(text)}</td>"


def _cells(row: Row) -> tuple[str, ...]:
    """The texts of a row behind its name."""
    output = ", ".join(shape_text(spec.shape) for spec in row.output)
    remarks = [STEP] if row.in_step else []
    remarks += [f"× {row.calls}"] if row.calls > 1 else []
    output += f" ({', '.join(remarks)})" if output and remarks else ""
    count = f"{row.parameters:,}" if row.parameters else ""
    if row.shared:
        count = " + ".join(word for word in (count, f"shared: {', '.join(row.shared)}") if word)
    return (
        row.kind,
        output,
        count,
        size_text(row.parameter_bytes) if row.parameters else "",
        size_text(row.output_bytes) if row.output else "",
    )


# ---------------------------------------------------------------------------------- gathering


def summary_of(model: Module, inputs: Any, depth: int | None = None) -> Summary:
    """The summary of a model for what it is called with; see :meth:`Module.summary`."""
    if depth is not None and (type(depth) is not int or depth < 0):
        raise ArgumentError(
            f"{type(model).__name__}.summary: depth={depth!r}",
            hint="how many layers inside of each other to list: 1, 2, ...; None for all",
        )
    call = call_of(model, inputs)
    rows = _rows(model, call)
    specs = {node.name or "input": node.tensor for node in call.graph.inputs}
    if depth is not None:
        rows = _shallow(rows, depth)
    return Summary(type(model).__name__, specs, tuple(rows))


def _rows(model: Module, call: Call) -> list[Row]:
    given: dict[int, list[tuple[Node, ...]]] = {}
    for module, nodes in call.results:
        given.setdefault(id(module), []).append(nodes)
    within = _within_steps(call)
    counted: dict[Parameter, str] = {}
    rows: list[Row] = []
    for path, module in model.named_modules():
        outputs = given.get(id(module), [])
        latest = outputs[-1] if outputs else ()
        own, shared = _own_parameters(path, module, counted)
        rows.append(
            Row(
                path=path,
                kind=type(module).__name__,
                output=tuple(node.spec for node in latest if isinstance(node.spec, TensorSpec)),
                calls=len(outputs),
                in_step=not within.isdisjoint(latest),
                parameters=sum(each.array.size for each in own),
                frozen=sum(each.array.size for each in own if not each.trainable),
                parameter_bytes=sum(each.array.nbytes for each in own),
                shared=shared,
                is_leaf=False,
            )
        )
    return _with_leaves(rows)


def _within_steps(call: Call) -> set[Node]:
    """The nodes that are of one step: they depend on inputs that nobody gave, but a scan made."""
    known = {*call.graph.inputs, *topological_order(call.given)}
    within: set[Node] = set()
    for node in topological_order(each for _, nodes in call.results for each in nodes):
        stands_for_a_step = node.op.name == "input" and node not in known
        if stands_for_a_step or not within.isdisjoint(node.inputs):
            within.add(node)
    return within


def _own_parameters(
    path: str, module: Module, counted: dict[Parameter, str]
) -> tuple[list[Parameter], tuple[str, ...]]:
    """A module's parameters that no row has yet, and the names of the others."""
    own, shared = [], []
    for name, parameter in module.own_parameters():
        if parameter in counted:
            shared.append(f"{name} = {counted[parameter]}")
        else:
            counted[parameter] = f"{path}.{name}" if path else name
            own.append(parameter)
    return own, tuple(shared)


def _around(path: str) -> list[str]:
    """The paths of what a layer lies in, the model's first."""
    parts = path.split(".") if path else []
    return [".".join(parts[:count]) for count in range(len(parts))]


def _with_leaves(rows: Sequence[Row]) -> list[Row]:
    """Which rows totals count: what is called, not in a step, and holds nothing that is."""
    shown = {row.path for row in rows if row.output and not row.in_step}
    holding = {outer for path in shown for outer in _around(path)}
    return [replace(row, is_leaf=row.path in shown - holding) for row in rows]


def _shallow(rows: Sequence[Row], depth: int) -> list[Row]:
    """The rows up to a depth, with the parameters of those below in the rows that hold them."""
    kept = {row.path: row for row in rows if _level(rows, row.path) <= depth}
    for row in rows:
        if row.path not in kept:
            holder = next(path for path in reversed(_around(row.path)) if path in kept)
            known = kept[holder]
            kept[holder] = replace(
                known,
                parameters=known.parameters + row.parameters,
                frozen=known.frozen + row.frozen,
                parameter_bytes=known.parameter_bytes + row.parameter_bytes,
            )
    return _with_leaves([*kept.values()])


def _level(rows: Sequence[Row], path: str) -> int:
    """How many listed layers a layer lies in."""
    known = {row.path for row in rows}
    return sum(outer in known for outer in _around(path))
