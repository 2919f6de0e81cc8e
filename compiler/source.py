"""What a program is compiled to, as text: Python of its nodes, and the code of its kernels.

`Program.source` is made of this.
"""

from __future__ import annotations

import dataclasses
import keyword
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any

import numpy as np

from graphnn.compiler.backends.native_calls import is_quick, kernels_of
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.generators import generate
from graphnn.compiler.native.objects import assembly
from graphnn.compiler.native.target import host_target
from graphnn.compiler.unit import Instruction, Unit
from graphnn.core.errors import ArgumentError
from graphnn.core.graph import Graph
from graphnn.core.literal import Literal
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.provenance import sources_of
from graphnn.core.spec import TupleSpec
from graphnn.core.state import Parameter
from graphnn.ops.conditionals import COND
from graphnn.ops.constants import CONSTANT
from graphnn.ops.control import PROJECT, TUPLE
from graphnn.ops.scan_primitive import apply_steps
from graphnn.ops.while_loops import WHILE, apply_rounds

__all__ = ["heading", "source"]

MOST_WRITTEN_OUT = 16
"""Constants with more elements are arguments of the Python program."""


def source(unit: Unit, kind: str, names: Sequence[str]) -> str:
    """See `Program.source`; ``names`` are those of the feeds."""
    if kind == "python":
        return "\n".join(_Python(unit, names).lines())
    is_for_gpu = unit.options.backend == "cupy"
    of_kernels = ("cuda",) if is_for_gpu else ("llvm", "asm")
    if kind not in of_kernels:
        raise ArgumentError(
            f"no kind of source {kind!r} for backend={unit.options.backend!r}",
            hint=f"there are {', '.join(map(repr, ('python', *of_kernels)))}",
            where="",
        )
    if is_for_gpu:
        # Nobody else needs what prints CUDA code.
        from graphnn.compiler.cuda.program_text import cuda_texts

        return "\n".join(cuda_texts(unit))
    return "\n".join(_native_texts(unit, kind))


# ------------------------------------------------------------------------------ native code


def _native_texts(unit: Unit, kind: str) -> Iterator[str]:
    """The code of every distinct kernel, below the instructions that run it."""
    users: dict[Any, list[int]] = {}
    for number, instruction in enumerate(unit.instructions):
        for kernel in dict.fromkeys(kernels_of(instruction)):
            users.setdefault(kernel, []).append(number)
    target = host_target()
    is_x86 = target.triple.startswith(("x86", "i386", "i686"))
    comment = ";" if kind == "llvm" else "#" if is_x86 else "//"
    quick = is_quick(unit)
    for index, (kernel, numbers) in enumerate(users.items()):
        yield from heading(unit, numbers, comment)
        code: Code = generate(kernel, target, f"kernel{index}")
        for name, n_chunks in code.parts:
            yield f"{comment} {name}: {n_chunks} chunk{'s' if n_chunks > 1 else ''}"
        if code.scratch_nbytes:
            yield f"{comment} {code.scratch_nbytes:,} bytes of scratch memory"
        yield code.ir if kind == "llvm" else assembly(code.ir, target, quick)


def heading(unit: Unit, numbers: Iterable[int], comment: str) -> Iterator[str]:
    """Instructions by their numbers, a line for each."""
    for number in numbers:
        yield f"{comment} {_words(number, unit.instructions[number])}"


def _words(number: int, instruction: Instruction) -> str:
    """An instruction and the user's lines that it comes from."""
    nodes = instruction.nodes or (instruction.node,)
    lines = sources_of(nodes)
    place = f"  ({', '.join(map(str, lines))})" if lines else ""
    return f"{number} {instruction.kind}: {instruction.label}{place}"


# ----------------------------------------------------------------------------------- Python


class _Python:
    """Python that computes every node by its operator's own kernel."""

    def __init__(self, unit: Unit, names: Sequence[str]) -> None:
        self._unit = unit
        self._names: dict[Node, str] = {}
        self._body: list[str] = []
        self._ops: dict[str, None] = {}
        self._classes: dict[str, set[str]] = {"numpy": {"array", "dtype", "errstate", "full"}}
        self._state = {parameter: n for n, parameter in enumerate(unit.states)}
        self._constant = {node: n for n, node in enumerate(unit.constants)}
        self._feeds = [_feed_name(number, name) for number, name in enumerate(names)]
        self._bodies: dict[Graph, str] = {}
        self._functions: list[str] = []

    def lines(self) -> Iterator[str]:
        """The text."""
        unit = self._unit
        self._names.update(zip(unit.graph.inputs, self._feeds, strict=True))
        for number, instruction in enumerate(unit.instructions):
            around = unit.words_around(number).removesuffix(" ")
            place = f"  [{around}]" if around else ""
            self._body.append(f"    # {_words(number, instruction)}{place}")
            if not around:
                for node in instruction.nodes or (instruction.node,):
                    self._need(node)
        for node in unit.graph.outputs:
            self._need(node)
        outputs = [self._names[node] for node in unit.graph.outputs]
        results, updates = outputs[: unit.n_results], outputs[unit.n_results :]
        yield from self._head()
        yield from self._body
        yield f"    return [{', '.join(results)}], [{', '.join(updates)}]"
        yield ""

    def _head(self) -> Iterator[str]:
        unit = self._unit
        yield '"""A program of graphnn, one line for every node."""'
        yield ""
        yield "from types import SimpleNamespace"
        yield ""
        self._classes.setdefault("graphnn.core.op", set()).add("REGISTRY")
        for module in sorted(self._classes, key=lambda name: (name != "numpy", name)):
            yield f"from {module} import {', '.join(sorted(self._classes[module]))}"
        yield ""
        yield "inf, nan = float('inf'), float('nan')"
        yield "ops = SimpleNamespace()"
        for name in sorted(self._ops):
            yield f"ops.{name} = REGISTRY[{name!r}].evaluate"
        yield ""
        yield ""
        yield from self._functions
        yield "@errstate(all='ignore')"
        arguments = [*self._feeds, "states=()", "constants=()"]
        yield f"def program({', '.join(arguments)}):"
        yield '    """Compute the results and the new state; nothing is overwritten.'
        yield ""
        for name, node in zip(self._feeds, unit.graph.inputs, strict=True):
            yield f"    {name}: {node.spec}"
        for parameter, number in self._state.items():
            yield f"    states[{number}]: {_safe_name(parameter)}, {parameter.spec}"
        for node, number in self._constant.items():
            if _written_out(_value(node)) is None:
                yield f"    constants[{number}]: {node.spec}"
        updated = ", ".join(map(_safe_name, unit.updated))
        yield f"    Results, then the new values of: {updated or 'nothing'}."
        yield '    """'

    def _need(self, node: Node) -> None:
        """Write a node behind what it reads, unless it is there already."""
        waiting = [node]
        while waiting:
            last = waiting[-1]
            missing = [each for each in last.inputs if each not in self._names]
            if last not in self._names and missing:
                waiting += missing
                continue
            waiting.pop()
            if last not in self._names:
                name = f"v{len(self._names)}"
                self._body.append(f"    {name} = {self._expression(last)}")
                self._names[last] = name

    def _expression(self, node: Node) -> str:
        reads = [self._names[each] for each in node.inputs]
        if isinstance(node, Parameter):
            return f"states[{self._state[node]}]" + _remark(node)
        if node.op is CONSTANT:
            return _written_out(_value(node)) or f"constants[{self._constant[node]}]"
        if node.op is TUPLE:
            return f"({', '.join(reads)},)"
        if node.op is PROJECT:
            return f"{reads[0]}[{node.attrs['index']}]"
        if node.op.body_attrs:
            return self._with_bodies(node, reads)
        self._ops[node.op.name] = None
        attrs = [f"{name}={self._text(value)}" for name, value in node.attrs.items()]
        return f"ops.{node.op.name}({', '.join([*reads, *attrs])}){_remark(node)}"

    def _with_bodies(self, node: Node, reads: Sequence[str]) -> str:
        """Functions for the bodies, and what calls them."""
        attrs = dict(node.attrs)
        bodies = [self._function(attrs.pop(name)) for name in node.op.body_attrs]
        if node.op is COND:
            flag, *given = reads
            return f"({bodies[0]} if {flag} else {bodies[1]})({', '.join(given)})"
        if node.op is WHILE:
            self._classes.setdefault(apply_rounds.__module__, set()).add(apply_rounds.__name__)
            arrays = ", ".join(reads)
            return f"apply_rounds({', '.join(bodies)}, [{arrays}], n_carry={attrs['n_carry']})"
        (step,) = bodies
        self._classes.setdefault(apply_steps.__module__, set()).add(apply_steps.__name__)
        self._classes["numpy"].add("empty")
        assert isinstance(node.spec, TupleSpec)
        specs = node.spec.elements[attrs["n_carry"] :]
        ys = [f"empty({each.shape}, dtype({each.dtype.name!r}))" for each in specs]
        options = [f"{name}={value!r}" for name, value in attrs.items()]
        return f"apply_steps({step}, [{', '.join(reads)}], [{', '.join(ys)}], {', '.join(options)})"

    def _function(self, body: Graph) -> str:
        """The name of the function that computes a body."""
        if body not in self._bodies:
            outer = self._names, self._body
            arguments = [f"argument{number}" for number in range(len(body.inputs))]
            self._names, self._body = dict(zip(body.inputs, arguments, strict=True)), []
            for node in body.outputs:
                self._need(node)
            results = ", ".join(self._names[node] for node in body.outputs)
            name = f"step{len(self._bodies)}"
            head = f"def {name}({', '.join(arguments)}):"
            self._functions += [head, *self._body, f"    return [{results}]", "", ""]
            self._bodies[body] = name
            self._names, self._body = outer
        return self._bodies[body]

    def _text(self, value: Any) -> str:
        """An attribute as an expression."""
        match value:
            case tuple():
                items = [self._text(each) for each in value]
                return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
            case np.dtype():
                return f"dtype({value.name!r})"
            case Literal():
                return f"{self._named(Literal)}({_array_text(value.array)})"
            case Enum():
                return f"{self._named(type(value))}.{value.name}"
            case _ if dataclasses.is_dataclass(value):
                fields = [
                    f"{each.name}={self._text(getattr(value, each.name))}"
                    for each in dataclasses.fields(value)
                ]
                return f"{self._named(type(value))}({', '.join(fields)})"
            case np.generic():
                return repr(value.item())
            case _:
                return repr(value)

    def _named(self, kind: type) -> str:
        """The name of a class, which will be imported."""
        self._classes.setdefault(kind.__module__, set()).add(kind.__name__)
        return kind.__name__


_TAKEN = re.compile(
    r"v\d+|feed\d+|step\d+|argument\d+|apply_steps|apply_rounds|empty|states|constants|ops|program|array|dtype|full|errstate|inf|nan|REGISTRY"
)
"""Names that the Python program uses for something else."""


def _feed_name(number: int, name: str) -> str:
    """The name of an argument: the user's own where Python can have it."""
    is_free = name.isidentifier() and not keyword.iskeyword(name) and not _TAKEN.fullmatch(name)
    return name if is_free else f"feed{number}"


def _remark(node: Node) -> str:
    return f"  # {_safe_name(node)}" if node.name else ""


def _safe_name(node: Node) -> str:
    """The user's name for a node, such that it ends neither a comment nor a string."""
    return repr(node.name or "parameter")[1:-1].replace('"', "'")


def _value(node: Node) -> Array:
    literal: Literal = node.attrs["value"]
    return literal.array


def _written_out(array: Array) -> str | None:
    """A constant as an expression; None if it is too long to read."""
    if array.dtype.kind == "c" and not np.isfinite(array).all():
        return None  # Python cannot write these down
    if array.size <= MOST_WRITTEN_OUT:
        return _array_text(array)
    first = array.reshape(-1)[:1]
    if array.tobytes() == first.tobytes() * array.size:
        return f"full({array.shape}, {_array_text(first)})"
    return None


def _array_text(array: Array) -> str:
    text = f"array({array.tolist()!r}, dtype({array.dtype.name!r}))"
    return f"{text}.reshape({array.shape})" if array.size == 0 else text
