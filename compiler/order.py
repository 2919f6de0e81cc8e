"""A topological order of groups that stays one while groups are merged.

After D. J. Pearce and P. H. J. Kelly, "A dynamic topological sort algorithm for directed acyclic
graphs" (2006): only what lies between the two in the order is looked at, and moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["MOST_SEARCHED", "Order"]

MOST_SEARCHED = 128
"""Groups to look at for another path between two of them, so that all merges are linear."""

MOST_FOLLOWED = 4 * MOST_SEARCHED
"""Links to follow meanwhile: most lead out of what lies between the two."""

TOO_FAR = "they are too far apart to tell whether others lie between them"
PATH = "there is a path between them through others"


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
        """Merge two groups into one, unless that would make a cycle.

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
        if behind == PATH:
            return PATH
        if not behind:  # nothing in between needs the first: it can wait for the second
            self.position[first] = high
        else:
            ahead = self._reach(self._before, second, first, low, high)
            if isinstance(ahead, str):
                return ahead
            if ahead:
                if isinstance(behind, str):
                    return behind
                self._move(ahead, first, behind, high)
        self._join(self._after, self._before, first, second)
        self._join(self._before, self._after, first, second)
        return ""

    def _move(self, ahead: Iterable[int], group: int, behind: Iterable[int], last: int) -> None:
        """Put one group behind some and before others, in the places that all of them have."""
        place = self.position.__getitem__
        before, after = sorted(ahead, key=place), sorted(behind, key=place)
        moved = [*before, group, *after]
        places = sorted([*map(place, moved), last])
        del places[len(before) + 1]  # two became one
        for each, where in zip(moved, places, strict=True):
            self.position[each] = where

    def _reach(
        self, links: list[set[int]], start: int, other: int, low: int, high: int
    ) -> set[int] | str:
        """What is reached from ``start`` between the two; in words why that is not known."""
        seen: set[int] = set()
        stack, position = [start], self.position
        followed = 0
        while stack:
            group = stack.pop()
            for each in links[group]:
                followed += 1
                if followed > MOST_FOLLOWED or len(seen) > MOST_SEARCHED:
                    return TOO_FAR
                if each == other:
                    if group != start:
                        return PATH
                elif low < position[each] < high and each not in seen:
                    seen.add(each)
                    stack.append(each)
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
