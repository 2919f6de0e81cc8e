"""A topological order of groups that stays one while groups are merged.

After D. J. Pearce and P. H. J. Kelly, "A dynamic topological sort algorithm for directed acyclic
graphs" (2006): only what lies between the two in the order is looked at, and moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["MOST_SEARCHED", "Order"]

MOST_SEARCHED = 256
"""Groups to look at for another path between two of them, so that all merges are linear."""


class Order:
    """Numbered groups, each after those that it depends on.

    Parameters
    ----------
    count : int
        Groups are ``0 .. count - 1``, in an order that fits.
    edges : iterable of (int, int)
        Which group must come before which.
    """

    def __init__(self, count: int, edges: Iterable[tuple[int, int]]) -> None:
        self.position = list(range(count))
        self._after: list[set[int]] = [set() for _ in range(count)]
        self._before: list[set[int]] = [set() for _ in range(count)]
        for first, second in edges:
            self._after[first].add(second)
            self._before[second].add(first)

    def merge(self, first: int, second: int) -> str:
        """Merge two groups into one, known by either number that is given back as ``keeper``.

        Parameters
        ----------
        first, second : int
            ``first`` comes before ``second``; the merged group is known as ``first``.

        Returns
        -------
        str
            Empty if it was done, else why not.
        """
        low, high = self.position[first], self.position[second]
        behind = self._reach(self._after, first, second, low, high)
        if behind is None:
            return "there is a path between them through others, or may be"
        ahead = self._reach(self._before, second, first, low, high)
        if ahead is None:
            return "there is a path between them through others, or may be"
        ahead_sorted = sorted(ahead, key=self.position.__getitem__)
        behind_sorted = sorted(behind, key=self.position.__getitem__)
        moved = [*ahead_sorted, first, *behind_sorted]
        places = sorted([*(self.position[each] for each in moved), high])
        del places[len(ahead_sorted) + 1]  # two became one
        for each, place in zip(moved, places, strict=True):
            self.position[each] = place
        self._join(self._after, self._before, first, second)
        self._join(self._before, self._after, first, second)
        return ""

    def _reach(
        self, links: list[set[int]], start: int, other: int, low: int, high: int
    ) -> set[int] | None:
        """What is reached from ``start`` between the two; None if ``other`` is, or too much."""
        seen: set[int] = set()
        stack = [each for each in links[start] if each != other]
        while stack:
            group = stack.pop()
            if group == other:
                return None
            if group in seen or not low < self.position[group] < high:
                continue
            seen.add(group)
            if len(seen) > MOST_SEARCHED:
                return None
            stack += links[group]
        return seen

    @staticmethod
    def _join(links: list[set[int]], back: list[set[int]], first: int, second: int) -> None:
        """Links of ``second`` become links of ``first``."""
        for each in links[second]:
            back[each].discard(second)
            if each != first:
                back[each].add(first)
                links[first].add(each)
        links[first].discard(second)
        links[second] = set()

    def sorted(self, groups: Mapping[int, object]) -> list[int]:
        """Groups in order."""
        return sorted(groups, key=self.position.__getitem__)
