"""An order of computation in which little is live at a time.

Two steps, both linear but for sorting:

1. Every value right after what it is computed from, shallow readers before deep ones. So the
   outer products and sums of a gradient follow each step of backpropagation, and what they read
   can be forgotten; the deep reader, which is the previous step, comes last.
2. What is computed from values that are live later anyway (``1 - h**2`` in the forward half,
   ``x[t] @ w``) is not computed early: it waits until it is first read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphnn.compiler.memory_model import Model

__all__ = ["frugal_order"]

FARTHEST_WALK = 16
"""Values before one that may wait together with it."""


def frugal_order(model: Model) -> list[int]:
    """The values of a model in a frugal order."""
    order = _eager_order(model)
    lazy = _lazy(model, order)
    depth = [0] * len(order)
    for value, reads in enumerate(model.reads):
        depth[value] = 1 + max((depth[each] for each in reads), default=0)
    deepest_first = [sorted(reads, key=lambda each: -depth[each]) for reads in model.reads]
    done = bytearray(len(order))
    result: list[int] = []
    for value in order:
        if not lazy[value]:
            _emit(deepest_first, value, done, result)
    for value in order:  # lazy results: nothing reads them
        _emit(deepest_first, value, done, result)
    return result


def _emit(reads: Sequence[Sequence[int]], value: int, done: bytearray, result: list[int]) -> None:
    """Append a value after those that it needs and that have waited for it."""
    if done[value]:
        return
    done[value] = True
    stack: list[tuple[int, Iterator[int]]] = [(value, iter(reads[value]))]
    while stack:
        current, remaining = stack[-1]
        for each in remaining:
            if not done[each]:
                done[each] = True
                stack.append((each, iter(reads[each])))
                break
        else:
            result.append(current)
            stack.pop()


def _eager_order(model: Model) -> list[int]:
    """Reverse postorder of a depth-first walk from values to their deepest readers first."""
    end = len(model.nodes)
    height = [0] * end
    readers: list[list[int]] = []
    for value in range(end - 1, -1, -1):
        using = [each for each in model.uses[value] if each != end]
        height[value] = 1 + max((height[each] for each in using), default=0)
    for value in range(end):
        using = [each for each in model.uses[value] if each != end]
        readers.append(sorted(using, key=lambda each: -height[each]))
    starts = [value for value in range(end) if not model.reads[value]]
    seen = bytearray(end)
    postorder: list[int] = []
    for start in sorted(starts, key=lambda each: -height[each]):
        _visit(start, readers, seen, postorder)
    postorder.reverse()
    return postorder


def _visit(
    start: int, readers: Sequence[Sequence[int]], seen: bytearray, postorder: list[int]
) -> None:
    seen[start] = True
    stack = [(start, iter(readers[start]))]
    while stack:
        value, remaining = stack[-1]
        for each in remaining:
            if not seen[each]:
                seen[each] = True
                stack.append((each, iter(readers[each])))
                break
        else:
            postorder.append(value)
            stack.pop()


def _lazy(model: Model, order: Sequence[int]) -> bytearray:
    """Which values wait until they are read: that keeps less alive than it frees."""
    end = len(order)
    position = [0] * end
    for index, value in enumerate(order):
        position[value] = index
    lazy = bytearray(end)
    time = [*position, end]  # when each is computed, as far as is known
    last = [-1] * end  # when each is read for the last time, by those looked at already
    for value in reversed(order):
        first = min((time[each] for each in model.uses[value]), default=end)
        if first > position[value] + 1 and _frees(model, value, last, position[value], first):
            lazy[value] = True
            time[value] = first
        if end in model.uses[value]:
            last[value] = end
        for each in model.reads[value]:
            last[each] = max(last[each], time[value])
    return lazy


def _frees(model: Model, value: int, last: Sequence[int], start: int, first: int) -> bool:
    """Whether a value that waits from ``start`` until ``first`` saves bytes, counted over time.

    What only the value reads may wait with it; then what that reads is kept instead.
    """
    saved = model.nbytes[value] * (first - start)
    waiting = {value}
    kept = {each for each in model.reads[value] if last[each] < first}
    for _ in range(FARTHEST_WALK):
        if sum(model.nbytes[each] * (first - max(last[each], start)) for each in kept) < saved:
            return True
        alone = next((each for each in kept if waiting.issuperset(model.uses[each])), None)
        if alone is None:
            return False
        waiting.add(alone)
        kept.remove(alone)
        kept |= {each for each in model.reads[alone] if last[each] < first} - waiting
    return False
