"""The interpreter: the flat instruction list on one arena, instruction by instruction.

All views are made once; a run is a loop over calls that write into them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from graphnn.compiler.backends.failure import explain, require_finite
from graphnn.compiler.backends.memory import Memory
from graphnn.compiler.backends.rounds import in_rounds
from graphnn.compiler.native import limits
from graphnn.compiler.native.limits import Limits
from graphnn.compiler.unit import Instruction, Unit
from graphnn.core.errors import NonFiniteError
from graphnn.core.graph import topological_order
from graphnn.core.op import Array
from graphnn.core.state import bring_home

__all__ = ["InterpretedExecutable", "bind_host"]


class InterpretedExecutable:
    """A unit with its arena allocated and its instructions bound to memory."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._memory = Memory(unit)
        self._feeds = self._memory.hold_feeds()
        self._stops_at_nan = unit.options.debug == "nan"
        self._calls = [bind_host(each, self._memory) for each in unit.instructions]
        self._results = [self._memory.array(view) for view in unit.results]

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        """See `Executable.run`."""
        with np.errstate(all="ignore"):
            return self._run(feeds)

    def limits(self) -> Limits:
        """What this machine reaches with one thread."""
        return limits.measured_limits(1)

    now_ns = staticmethod(time.perf_counter_ns)

    def profile(self, feeds: Sequence[Array]) -> list[int]:
        """Run once; how many nanoseconds each instruction took, in all rounds."""
        self._take(feeds)
        taken = [0] * len(self._calls)
        try:
            with np.errstate(all="ignore"):
                for number in self._numbers():
                    start = time.perf_counter_ns()
                    self._calls[number]()
                    taken[number] += time.perf_counter_ns() - start
        finally:
            self._memory.rounds.clear()
        return taken

    def _take(self, feeds: Sequence[Array]) -> None:
        bring_home(self._unit.states)
        for slot, fed in zip(self._feeds, feeds, strict=True):
            slot[...] = fed

    def _run(self, feeds: Sequence[Array]) -> list[Array]:
        self._take(feeds)
        number = 0
        try:
            for number in self._numbers():
                self._calls[number]()
                if self._stops_at_nan:
                    instruction = self._unit.instructions[number]
                    require_finite(instruction.node, map(self._memory.array, instruction.outputs))
        except NonFiniteError:
            raise
        except Exception as error:
            explain(error, self._unit.instructions[number].node)
            raise
        finally:
            self._memory.rounds.clear()
        return [result.copy() for result in self._results]

    def _numbers(self) -> Iterator[int]:
        unit, memory = self._unit, self._memory
        return in_rounds(0, len(self._calls), unit.regions, memory.rounds, memory.is_taken)


def bind_host(instruction: Instruction, memory: Memory) -> Callable[[], None]:
    """A call without arguments that carries an instruction out by NumPy's kernels."""
    inputs = [memory.view(view) for view in instruction.inputs]
    outputs = [memory.view(view) for view in instruction.outputs]
    op = instruction.op
    if instruction.kind == "pack":  # for native code alone
        return lambda: None
    if op is None:
        return lambda: np.copyto(outputs[0](), inputs[0]())
    if instruction.kernel is not None:
        return _bind_nodes(instruction, memory, outputs)
    if len(outputs) == 1:
        return lambda: op.evaluate_into(
            outputs[0](), *(each() for each in inputs), **instruction.attrs
        )

    def call() -> None:
        made = op.evaluate(*(each() for each in inputs), **instruction.attrs)
        for output, each in zip(outputs, made, strict=True):
            output()[...] = each

    return call


def _bind_nodes(
    instruction: Instruction, memory: Memory, outputs: list[Callable[[], Array]]
) -> Callable[[], None]:
    """Fused nodes are evaluated one by one; results are written when all are there."""
    read = {node: memory.view(view) for node, view in instruction.reads}
    steps = topological_order(instruction.stored, boundary=read)
    if len(steps) == 1:
        (node,) = steps
        inputs = [read[each] for each in node.inputs]
        return lambda: node.op.evaluate_into(
            outputs[0](), *(each() for each in inputs), **node.attrs
        )
    last = {each: node for node in steps for each in node.inputs}
    keep = {*read, *instruction.stored}

    def call() -> None:
        values = {node: each() for node, each in read.items()}
        for node in steps:
            arrays = [values[each] for each in node.inputs]
            values[node] = node.op.evaluate(*arrays, **node.attrs)
            for each in node.inputs:
                if last[each] is node and each not in keep:
                    values.pop(each, None)
        for output, node in zip(outputs, instruction.stored, strict=True):
            output()[...] = values[node]

    return call
