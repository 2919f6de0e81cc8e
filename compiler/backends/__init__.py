"""Executors: each takes a planned unit and gives something that can be run.

This is the seam for code generators: a backend sees the same flat instruction list over the
same planned arena, and decides only how an instruction is carried out. The reference interpreter
alone takes a unit that is scheduled and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from graphnn.compiler.backends.background import BackgroundExecutable
from graphnn.compiler.backends.interpreted import InterpretedExecutable
from graphnn.compiler.backends.native import NativeExecutable
from graphnn.compiler.backends.reference import ReferenceExecutable
from graphnn.compiler.backends.verifying import VerifyingExecutable
from graphnn.compiler.cuda.interchange import from_gpu
from graphnn.compiler.unit import Unit
from graphnn.core.op import Array

__all__ = ["ADOPTERS", "BACKENDS", "WITHOUT_INSTRUCTIONS", "Executable", "emit"]


class Executable(Protocol):
    """A unit that is ready to run."""

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        """Run once: new arrays for the results; state is updated in place.

        ``feeds`` have the shapes and dtypes of the unit's inputs and are never written to.
        """
        ...


def native_or_interpreted(unit: Unit) -> Executable:
    """Native code, unless the options ask for the interpreter, which misses no value.

    To verify native code, there must be some: ``native="never"`` does not count then.
    """
    if unit.options.debug == "verify":
        return VerifyingExecutable(unit)
    if unit.options.native == "never" or unit.options.debug == "nan":
        return InterpretedExecutable(unit)
    if unit.options.native == "background":
        return BackgroundExecutable(unit)
    return NativeExecutable(unit)


def on_gpu(unit: Unit) -> Executable:
    """CUDA kernels on the current GPU. CuPy and what prints CUDA code are imported here."""
    from graphnn.compiler.backends.on_device_checked import device_executable
    from graphnn.compiler.cuda.cupy_device import current_device

    return device_executable(unit, current_device())


BACKENDS: dict[str, Callable[[Unit], Executable]] = {
    "reference": ReferenceExecutable,
    "numpy": native_or_interpreted,
    "cupy": on_gpu,
}
"""Every backend by the word that users choose it with."""

ADOPTERS: Mapping[str, Callable[[Any], Any | None]] = MappingProxyType({"cupy": from_gpu})
"""What takes feeds that are not on the host, by backend; it gives None for those that are."""

WITHOUT_INSTRUCTIONS = frozenset({"reference"})
"""Those that evaluate nodes in their order and look at neither instructions nor memory plan."""


def emit(unit: Unit) -> Executable:
    """Make a unit executable by the backend its options name."""
    return BACKENDS[unit.options.backend](unit)
