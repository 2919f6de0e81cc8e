"""Loops that walk through memory with pointers of their own.

LLVM looks for better ways to compute the addresses of nested loops. It finds none, and would spend
half of the time that a convolution takes to compile; so it is not shown how they are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from graphnn.compiler.native.builder import Builder, V

__all__ = ["hidden", "walk"]


def hidden(b: Builder, address: V) -> V:
    """The same address, of which LLVM does not know where it comes from."""
    return b.call("llvm.launder.invariant.group.p0", "ptr", address)


@contextmanager
def walk(
    b: Builder, start: V | int, stop: V | int, pointers: Sequence[tuple[V, int]], step: int = 1
) -> Iterator[tuple[V, list[V]]]:
    """A loop in whose turns pointers move on by so many bytes; gives its index and the pointers."""
    places = [b.local("ptr") for _ in pointers]
    for place, (pointer, _) in zip(places, pointers, strict=True):
        b.store(pointer, place, 8)
    with b.loop(start, stop, step) as index:
        here = [b.load(place, "ptr", 8) for place in places]
        yield index, here
        for place, at, (_, stride) in zip(places, here, pointers, strict=True):
            b.store(hidden(b, b.at(at, stride)), place, 8)
