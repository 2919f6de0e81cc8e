"""Code of programs as machine code: compiled by NVRTC, some kernels together, or kept on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from graphnn.compiler.cuda.code import Code
from graphnn.compiler.cuda.nvrtc import OPTIONS, Nvrtc
from graphnn.compiler.cuda.prelude import PRELUDE
from graphnn.compiler.native.cache import Cache, Entry
from graphnn.core.errors import DeviceError

__all__ = ["ELF", "TOGETHER", "Cubins", "architecture_for", "source_of"]

TOGETHER = 24
"""Kernels of one module: what all need is read again for each, and modules compile side by side."""

ELF = b"\x7fELF"


class Cubins:
    """Machine code for one architecture.

    Parameters
    ----------
    nvrtc : Nvrtc
    architecture : int
    cache : Cache or None
        Where code is kept from process to process.
    """

    def __init__(self, nvrtc: Nvrtc, architecture: int, cache: Cache | None) -> None:
        self._nvrtc, self._architecture, self._cache = nvrtc, architecture, cache
        self._module_of: dict[str, bytes] = {}

    def build(self, codes: Sequence[Code]) -> list[tuple[Sequence[Code], bytes]]:
        """Some of the codes, and a module with their functions; all of them in the end.

        What an earlier program had built is not built again.
        """
        missing = [each for each in codes if each.source not in self._module_of]
        together = [missing[at : at + TOGETHER] for at in range(0, len(missing), TOGETHER)]
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for some, module in zip(together, pool.map(self._module, together), strict=True):
                self._module_of.update((each.source, module) for each in some)
        found: dict[bytes, list[Code]] = {}
        for each in codes:
            found.setdefault(self._module_of[each.source], []).append(each)
        return [(some, module) for module, some in found.items()]

    def _module(self, codes: Sequence[Code]) -> bytes:
        source = source_of(codes)
        name = self._name(source)
        known = self._cache.read(name) if self._cache else None
        if known is not None and known.code.startswith(ELF):
            return known.code
        made = self._nvrtc.compile(source, self._architecture).cubin
        if self._cache:
            self._cache.write(name, Entry((), 0, made))
        return made

    def _name(self, source: str) -> str:
        """What the cache calls a module: the digest of all that its code depends on."""
        facts = ("cubin", *self._nvrtc.version, self._architecture, *OPTIONS, source)
        return hashlib.sha256("\0".join(map(str, facts)).encode()).hexdigest()


def source_of(codes: Sequence[Code]) -> str:
    """The text of a module."""
    return "\n".join([PRELUDE, *(code.source for code in codes)])


def architecture_for(capability: int, known: Collection[int]) -> int:
    """The newest known architecture whose code runs on a GPU: same generation, and not newer.

    Raises
    ------
    DeviceError
        If there is none.
    """
    fitting = [each for each in known if each // 10 == capability // 10 and each <= capability]
    if not fitting:
        raise DeviceError(
            f"the installed NVRTC makes no code for compute capability {capability / 10}, "
            f"but for {', '.join(str(each / 10) for each in sorted(known))}",
            hint="install CUDA libraries that know this GPU: "
            + ("newer ones" if capability > max(known) else "older ones"),
            where="",
        )
    return max(fitting)
