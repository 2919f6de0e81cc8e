"""The driver: runs passes over a unit and keeps the log.

It times every pass, keeps what each rewrite did and to which line of the user's, verifies the
record in between, and stops rewriting when its fuel is spent.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from graphnn.compiler.garbage import without_collections
from graphnn.compiler.unit import Unit
from graphnn.compiler.verify import verify
from graphnn.core.errors import VerifyError
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.source import Source

__all__ = [
    "Decision",
    "Driver",
    "Pass",
    "PassRecord",
    "Report",
    "Rewrite",
    "Snapshot",
    "expression",
    "wanted",
]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One application of a rule.

    Attributes
    ----------
    rule : str
    before, after : str
        The nodes, short.
    where : str
        The user's line that built what was rewritten.
    """

    rule: str
    before: str
    after: str
    where: str

    def __str__(self) -> str:
        place = f"  # {self.where}" if self.where else ""
        return f"{self.rule}: {self.before} -> {self.after}{place}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a pass made of something, or why it left it alone.

    Attributes
    ----------
    what : str
        The nodes in short.
    verdict : str
        What becomes of them: ``"stay apart"``.
    reason : str
        Why; empty where the pass says it all.
    sources : tuple of Source
        The user's lines.
    """

    what: str
    verdict: str
    reason: str
    sources: tuple[Source, ...]

    def __str__(self) -> str:
        place = f" ({', '.join(map(str, self.sources))})" if self.sources else ""
        return f"{self.what}{place} {self.verdict}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class PassRecord:
    """What one pass did.

    Attributes
    ----------
    name : str
    milliseconds : float
    nodes_before, nodes_after : int
    rewrites : tuple of Rewrite
    decisions : tuple of Decision
        Those that can be told in words; see :meth:`Program.explain`.
    """

    name: str
    milliseconds: float
    nodes_before: int
    nodes_after: int
    rewrites: tuple[Rewrite, ...]
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class Report:
    """What compilation did, pass by pass; printing it gives a table."""

    passes: tuple[PassRecord, ...]

    @property
    def milliseconds(self) -> float:
        """Time of all passes."""
        return sum(record.milliseconds for record in self.passes)

    def __str__(self) -> str:
        width = max([16, *(len(record.name) for record in self.passes)])
        lines = [f"{'pass':{width}} {'ms':>9} {'nodes':>15}  rewrites"]
        for record in self.passes:
            nodes = f"{record.nodes_before} -> {record.nodes_after}"
            counts = Counter(rewrite.rule for rewrite in record.rewrites)
            rules = ", ".join(
                f"{rule} x{count} ({lines_of(rule, record.rewrites)})"
                for rule, count in counts.most_common()
            )
            lines.append(f"{record.name:{width}} {record.milliseconds:9.2f} {nodes:>15}  {rules}")
        return "\n".join(lines)


def lines_of(rule: str, rewrites: Sequence[Rewrite], most: int = 3) -> str:
    """The user's lines that a rule changed, the first few of them."""
    places = list(dict.fromkeys(each.where for each in rewrites if each.rule == rule))
    return ", ".join(places[:most]) + (", ..." if len(places) > most else "")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A unit as a pass left it. Kept when somebody wants to look at it, and by nobody else.

    Attributes
    ----------
    unit : Unit
    record : PassRecord
        What the pass did.
    decided : tuple of (Decision, Node)
        Its decisions, and the first of the nodes that each is about.
    """

    unit: Unit
    record: PassRecord
    decided: tuple[tuple[Decision, Node], ...]


T = TypeVar("T")
Pass = Callable[[Unit, "Driver"], Unit]


@dataclass
class Driver:
    """Runs passes over one unit and keeps the log.

    Attributes
    ----------
    fuel : int or None
        Rewrites still allowed.
    snapshots : list of Snapshot, or None
        Where the unit is kept after every pass, with the nodes that decisions are about; None
        keeps nothing, so that what is rewritten can be forgotten.
    """

    fuel: int | None = None
    snapshots: list[Snapshot] | None = None
    _rewrites: list[Rewrite] = field(default_factory=list)
    _decisions: dict[Decision, None] = field(default_factory=dict)
    _decided: list[tuple[Decision, Node]] = field(default_factory=list)

    def spend(self, rule: str, before: Node, after: Node) -> bool:
        """Whether a rewrite may be applied; if so it is counted and logged."""
        if self.fuel is not None:
            if self.fuel <= 0:
                return False
            self.fuel -= 1
        where = ", ".join(map(str, provenance(before).sources))
        self._rewrites.append(Rewrite(rule, _short(before), _short(after), where))
        return True

    def decide(self, what: str, verdict: str, reason: str, node: Node) -> None:
        """Keep what was decided about something, which ``node`` is the first of."""
        decision = Decision(what, verdict, reason, provenance(node).sources)
        self._decisions[decision] = None
        if self.snapshots is not None:
            self._decided.append((decision, node))

    @staticmethod
    def with_graph(unit: Unit, graph: Graph) -> Unit:
        """The unit with another graph; the same object if the graph is the same."""
        return unit if graph is unit.graph else replace(unit, graph=graph)

    def timed(self, name: str, unit: Unit, work: Callable[[Unit], T]) -> tuple[T, PassRecord]:
        """Do one step of compilation; its result, and the record of it."""
        size = len(unit.graph.nodes)
        self._rewrites, self._decisions = [], {}
        start = time.perf_counter()
        with without_collections():
            result = work(unit)
        elapsed = (time.perf_counter() - start) * 1e3
        done = tuple(self._rewrites), tuple(self._decisions)
        return result, PassRecord(name, elapsed, size, size, *done)

    def _bound(self, work: Pass) -> Callable[[Unit], Unit]:
        return lambda unit: work(unit, self)

    def run(self, unit: Unit, passes: Sequence[Pass]) -> tuple[Unit, Report]:
        """Run passes in order, but for those that the options leave out.

        Raises
        ------
        VerifyError
            If a pass breaks the rules of the record; the message names the pass.
        """
        records = []
        right: Graph | None = None
        for each in wanted(passes, unit):
            unit, record = self.timed(each.__name__, unit, self._bound(each))
            records.append(replace(record, nodes_after=len(unit.graph.nodes)))
            if self.snapshots is not None:
                self.snapshots.append(Snapshot(unit, records[-1], tuple(self._decided)))
                self._decided.clear()
            if unit.options.verify:
                try:
                    verify(unit, right)
                    right = unit.graph
                except VerifyError as error:
                    raise VerifyError(
                        f"after pass {each.__name__}: {error.what}",
                        where=error.where,
                        hint="this is a bug in graphnn; bisect it with fuel=N and report it",
                    ) from None
        return unit, Report(tuple(records))


def wanted(passes: Sequence[Pass], unit: Unit) -> list[Pass]:
    """The passes that the options of a unit do not leave out."""
    return [each for each in passes if each.__name__ not in unit.options.left_out]


def _short(node: Node) -> str:
    if not node.inputs:
        return _word(node)
    return f"{node.op.label(node)}({', '.join(map(_word, node.inputs))})"


def expression(node: Node) -> str:
    """A node as it is written, short: ``h @ [u v]`` for a product."""
    if node.op.name == "dot_general":
        return " @ ".join(map(_operand, node.inputs))
    return _operand(node)


def _operand(node: Node) -> str:
    if node.op.name == "concatenate" and node.name is None:
        return f"[{' '.join(map(_word, node.inputs))}]"
    return _word(node)


def _word(node: Node) -> str:
    return node.name or node.op.label(node)
