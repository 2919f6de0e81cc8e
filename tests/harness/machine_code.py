"""Kernels as machine code, by NVRTC: what is compiled, and what must be said of it."""

import re
from collections.abc import Sequence

from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.cubins import ELF, source_of
from graphnn.compiler.cuda.nvrtc import Nvrtc

__all__ = ["check_machine_code", "one_of_a_kind", "using_other_functions"]

NAMES_AND_NUMBERS = re.compile(r"\b(?:kernel|joined)_\w+|[0-9]+")
REGISTERS = re.compile(r"\w+\[[0-9]+\]|<\w+, [0-9]+>")
"""Small arrays of a thread: how many registers there must be."""


def one_of_a_kind(codes: Sequence[Code]) -> list[Code]:
    """One of those whose texts differ in sizes and steps alone."""
    kinds = {
        (NAMES_AND_NUMBERS.sub("", each.source), *REGISTERS.findall(each.source)): each
        for each in codes
    }
    return list(kinds.values())


def using_other_functions(codes: Sequence[Code]) -> list[Code]:
    """Codes of which each uses a function of the prelude that none before it does.

    What some architectures have, and others have not, stands there.
    """
    known: set[str] = set()
    found = []
    for code in codes:
        words = set(re.findall(r"\bgn_\w+", code.source))
        if not words <= known:
            found.append(code)
        known |= words
    return found


def check_machine_code(nvrtc: Nvrtc, codes: Sequence[Code], architecture: int) -> None:
    """All of it is made, and nothing is spilled."""
    made = nvrtc.compile(source_of(codes), architecture, ("-Xptxas=-v",))
    assert made.cubin.startswith(ELF)
    spills = [line for line in made.log.splitlines() if "spill stores" in line]
    # A line for each, and for what they call.
    assert len(spills) >= sum(isinstance(part, Part) for code in codes for part in code.functions)
    assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in spills), spills
