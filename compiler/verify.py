"""The verifier: what must hold of a unit after every pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphnn.compiler.domain import is_computed
from graphnn.compiler.kernel import Contraction, Kernel, Operand
from graphnn.compiler.overwriting import may_overwrite
from graphnn.compiler.unit import Buffer, Instruction, Loop, Storage, Unit, View
from graphnn.core.dtypes import as_dtype
from graphnn.core.errors import VerifyError
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.spec import TensorSpec

__all__ = ["verify"]


def verify(unit: Unit, known: Graph | None = None) -> None:
    """Check a unit, whose graph is right if it is the one that is ``known`` to be.

    Raises
    ------
    VerifyError
        Naming the node or instruction that breaks a rule.
    """
    if unit.graph is not known:
        _verify_graph(unit.graph, known)
    for parameter, value in zip(unit.updated, unit.graph.outputs[unit.n_results :], strict=True):
        if value.spec != parameter.spec:
            raise _broken(value, f"update of {parameter.spec} by {value.spec}")
    if unit.schedule:
        _verify_schedule(unit)
    if unit.groups:
        _verify_groups(unit)
    if unit.instructions:
        _verify_instructions(unit)
    if unit.plan is not None:
        _verify_plan(unit)


def _broken(node: Node, what: str) -> VerifyError:
    return VerifyError(f"{node!r}: {what}", where=provenance(node).where)


def _verify_graph(graph: Graph, known: Graph | None) -> None:
    """Every spec is what its operator infers, and every source is an input or has a value.

    Nodes never change: those of a graph with the same inputs that is known to be right are.
    """
    fed = set(graph.inputs)
    right = set(known.nodes) if known is not None and known.inputs == graph.inputs else set()
    for node in graph.nodes:
        if node in right:
            continue
        inferred = node.op.infer(*(each.spec for each in node.inputs), **node.attrs)
        if inferred != node.spec:
            raise _broken(node, f"spec is {node.spec}, inferred {inferred}")
        if node.op.name == "input" and node not in fed:
            raise _broken(node, "is an input that is not fed")


def _verify_schedule(unit: Unit) -> None:
    """A permutation of the graph's nodes, inputs before users."""
    done: set[Node] = set()
    for node in unit.schedule:
        if not done.issuperset(node.inputs):
            raise _broken(node, "is scheduled before one of its inputs")
        done.add(node)
    if done != set(unit.graph.nodes) or len(unit.schedule) != len(done):
        raise VerifyError("the schedule is not the graph's nodes, once each", where="")


def _verify_groups(unit: Unit) -> None:
    """Every computed node is in a group, which comes after all that it reads."""
    done: set[Node] = set()
    for group in unit.groups:
        inside = set(group.nodes)
        for node in group.nodes:
            waiting = [each for each in node.inputs if each not in done]
            while waiting:
                each = waiting.pop()
                if not is_computed(each):
                    waiting += [one for one in each.inputs if one not in done]
                elif each not in inside:
                    raise _broken(node, f"is grouped before {each!r}")
                done.add(each)
            done.add(node)
    missing = [node for node in unit.schedule if is_computed(node) and node not in done]
    if missing:
        raise _broken(missing[0], "is in no group")


def _verify_kernel(instruction: Instruction, loops: Sequence[Loop]) -> None:
    """Operands fit the views that they begin in, and reach no byte outside of the buffers."""
    kernel, views = instruction.kernel, (*instruction.inputs, *instruction.outputs)
    if kernel is None:
        return
    operands = [*((operand, kernel.sizes) for operand in _factors(kernel))]
    inner = kernel.epilogue if isinstance(kernel, Contraction) else kernel
    operands += [(operand, inner.sizes) for operand in inner.operands]
    if len(views) != len(operands):
        raise _broken(instruction.node, f"{len(views)} views for {len(operands)} operands")
    count = len(inner.operands)
    outputs = range(count - len(instruction.outputs), count)
    if sorted(place for place, _ in inner.stores) != list(outputs):
        raise _broken(instruction.node, "not every output is stored once")
    for view, (operand, sizes) in zip(views, operands, strict=True):
        around = zip(view.moves, (each.count or 1 for each in loops), strict=False)
        moves, counts = tuple(zip(*around, strict=True)) or ((), ())
        moving = replace(operand, strides=(*operand.strides, *moves))
        _verify_operand(instruction.node, view, moving, (*sizes, *counts))


def _factors(kernel: Kernel | Contraction) -> tuple[Operand, ...]:
    return (*kernel.factor(0), *kernel.factor(1)) if isinstance(kernel, Contraction) else ()


def _verify_operand(node: Node, view: View, operand: Operand, sizes: tuple[int, ...]) -> None:
    reach = [stride * (size - 1) for stride, size in zip(operand.strides, sizes, strict=True)]
    first = view.offset + sum(each for each in reach if each < 0)
    last = view.offset + sum(each for each in reach if each > 0) + as_dtype(operand.dtype).itemsize
    if first < 0 or last > view.buffer.nbytes:
        raise _broken(node, f"a kernel reaches outside of {view.buffer}")


def _verify_instructions(unit: Unit) -> None:
    """Nothing is read before it is written; results have the specs that were promised."""
    written: set[Buffer] = {view.buffer for view in unit.feeds}
    for number, instruction in enumerate(unit.instructions):
        _verify_kernel(instruction, unit.loops_around(number))
        for view in instruction.sources:
            needs_write = view.buffer.storage is Storage.ARENA and view.buffer.nbytes
            if needs_write and view.buffer not in written:  # nothing writes empty arrays
                raise _broken(instruction.node, f"reads {view.buffer} before it is written")
        for view in instruction.outputs:
            if view.buffer.storage in (Storage.CONSTANT, Storage.FEED):
                raise _broken(instruction.node, f"writes a {view.buffer.storage.value}")
            written.add(view.buffer)
        touched = {view.buffer for view in (*instruction.inputs, *instruction.outputs)}
        for operand in (each for piece in instruction.pieces for each in piece.operands):
            if not isinstance(operand, View) or operand.buffer.storage is Storage.CONSTANT:
                continue
            if operand.buffer not in touched:
                raise _broken(instruction.node, f"a piece of it touches {operand.buffer}")
    for node, view in zip(unit.graph.outputs, unit.results, strict=False):
        if TensorSpec(view.shape, view.dtype) != node.spec:
            raise _broken(node, f"is stored as {view.dtype.name}{view.shape}")


def _verify_plan(unit: Unit) -> None:
    """Buffers that are live at the same time do not share memory, in-place kernels apart."""
    plan = unit.plan
    assert plan is not None
    events: dict[int, tuple[list[int], list[int]]] = {}
    for index, (first, last) in enumerate(plan.live):
        if last >= first and unit.buffers[index].nbytes:
            events.setdefault(first, ([], []))[0].append(index)
            events.setdefault(last, ([], []))[1].append(index)
    occupied: dict[int, int] = {}  # start of each 64-byte line -> buffer
    for time in sorted(events):
        births, deaths = events[time]
        for index in births:
            start, stop = plan.offsets[index], plan.offsets[index] + unit.buffers[index].nbytes
            if stop > plan.nbytes:
                raise VerifyError(f"buffer {index} ends outside of the arena", where="")
            lines = range(start // 64, -(-stop // 64))
            for other in {occupied[line] for line in lines if line in occupied}:
                if not (other in deaths and _may_overwrite(unit, time, other, index)):
                    raise VerifyError(f"buffers {other} and {index} share memory", where="")
            occupied.update(dict.fromkeys(lines, index))
        for index in deaths:
            start, stop = plan.offsets[index], plan.offsets[index] + unit.buffers[index].nbytes
            for line in range(start // 64, -(-stop // 64)):
                if occupied.get(line) == index:
                    del occupied[line]


def _may_overwrite(unit: Unit, time: int, old: int, new: int) -> bool:
    """Whether an instruction may write a buffer over one that it reads for the last time.

    A kernel may, element by element: it must read there what it writes there.
    """
    assert unit.plan is not None
    if not 0 <= time < len(unit.instructions):
        return False
    if unit.plan.offsets[old] != unit.plan.offsets[new]:
        return False
    instruction = unit.instructions[time]
    return any(
        view.buffer is unit.buffers[new] and may_overwrite(instruction, number, unit.buffers[old])
        for number, view in enumerate(instruction.outputs)
    )
