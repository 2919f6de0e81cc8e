"""What an instruction should give, by the operators' own kernels: for ``debug="verify"``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphnn.compiler.backends.comparison import Difference, Expected, expect_instruction
from graphnn.compiler.backends.failure import explain
from graphnn.compiler.unit import Instruction, View
from graphnn.core.errors import VerifyError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.provenance import provenance

__all__ = ["InstructionCheck"]

Read = Callable[[View], Array]
"""Gives what lies in a view."""


@dataclass(frozen=True, slots=True)
class InstructionCheck:
    """What an instruction should write.

    Attributes
    ----------
    number : int
    instruction : Instruction
    stored : sequence of Node
        What each of its outputs is.
    expected : list of Expected
    """

    number: int
    instruction: Instruction
    stored: Sequence[Node]
    expected: list[Expected]

    @staticmethod
    def before(number: int, instruction: Instruction, read: Read) -> InstructionCheck:
        """Compute it before the instruction is carried out, which may write over its operands."""
        try:
            return InstructionCheck(number, instruction, *expect_instruction(instruction, read))
        except Exception as error:  # what the operator refuses
            explain(error, instruction.node)
            raise

    def after(self, read: Read, source: str) -> None:
        """Compare, when the instruction has been carried out.

        Parameters
        ----------
        read : callable
        source : {"llvm", "cuda"}
            The kind of source that shows what is wrong.

        Raises
        ------
        VerifyError
            Naming the instruction, its nodes and the user's lines, and the largest difference.
        """
        outputs = self.instruction.outputs if self.stored else ()
        for node, view, want in zip(self.stored, outputs, self.expected, strict=True):
            difference = want.compare(read(view))
            if difference is not None:
                raise VerifyError(
                    self._told(node, difference),
                    where=_lines(self.instruction),
                    hint="this is a bug in graphnn; please report it with "
                    f'program.source("{source}"), instruction {self.number}',
                )

    def _told(self, node: Node, difference: Difference) -> str:
        instruction = self.instruction
        nodes = ", ".join(map(repr, instruction.nodes or (instruction.node,)))
        return (
            f"instruction {self.number} ({instruction.kind} {instruction.label}) is wrong in "
            f"{node!r}: {difference}\n  it computes {nodes}"
        )


def _lines(instruction: Instruction) -> str:
    """Where the user built what an instruction computes."""
    nodes = instruction.nodes or (instruction.node,)
    lines = dict.fromkeys(str(line) for each in nodes for line in provenance(each).sources)
    return f"built at {', '.join(lines)}" if lines else ""
