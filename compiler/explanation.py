"""What a program computes together, and why not more: fusion in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from graphnn.compiler.driver import Report
from graphnn.compiler.unit import Loop, Note, Unit
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.text import word_of

__all__ = ["explain_decisions", "explain_fusion"]


def explain_fusion(unit: Unit, node: Node | None) -> str:
    """Every fused instruction with its members, then every edge that was not fused.

    Parameters
    ----------
    unit : Unit
    node : Node or None
        Tell only what concerns this node, or what was made of it: what comes from its lines.
    """
    lines = []
    for number, instruction in enumerate(unit.instructions):
        members = instruction.nodes
        if members and _concerns(members, node):
            words = ", ".join(map(_words, members))
            around = unit.words_around(number)
            lines.append(f"{number:4} {around}{instruction.kind}: {words}")
    notes = [each for each in unit.notes if _concerns((each.producer, each.consumer), node)]
    if notes:
        lines.append("not fused:")
    lines += [f"  {_text(each)}" for each in notes]
    if not notes and unit.options.debug == "nan":
        lines.append('nothing is fused: debug="nan" looks at every value')
    elif not notes and unit.options.optimize == "O0":
        lines.append('nothing is fused at optimize="O0"')
    return "\n".join(lines)


def explain_decisions(report: Report, unit: Unit, node: Node | None) -> str:
    """What passes decided, one after the other; then what each loop does in a step.

    Parameters
    ----------
    report : Report
    unit : Unit
    node : Node or None
        As for `explain_fusion`.
    """
    lines = None if node is None else set(provenance(node).sources)
    found = []
    for record in report.passes:
        told = [
            f"  {each}"
            for each in record.decisions
            if lines is None or not lines.isdisjoint(each.sources)
        ]
        if told:
            found += [f"{record.name}:", *told]
    if node is None:
        found += [_steps(unit, loop) for loop in unit.loops]
    return "\n".join(found)


def _steps(unit: Unit, loop: Loop) -> str:
    kinds = Counter(each.kind for each in unit.instructions[loop.begin : loop.end])
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return f"{loop.count} steps of instructions {loop.begin} to {loop.end - 1}: {listed}"


def _concerns(nodes: Iterable[Node], node: Node | None) -> bool:
    if node is None:
        return True
    lines = set(provenance(node).sources)
    return any(each is node or not lines.isdisjoint(provenance(each).sources) for each in nodes)


def _text(note: Note) -> str:
    return f"{_words(note.producer)} -> {_words(note.consumer)}, because: {note.reason}"


def _words(node: Node) -> str:
    """A node and the user's line that built it."""
    word = word_of(node)
    sources = provenance(node).sources
    return f"{word} ({sources[0]})" if sources else word
