"""Parallel tracks in a channel: which of them every net takes, so that no two nets touch."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Mapping
from typing import TypeAlias

__all__ = ["TRACK", "Spans", "assign_tracks"]

TRACK = 7.0
"""Points between neighbouring tracks."""
MOST_TRACKS = 24
"""Of one channel; more share."""

Spans: TypeAlias = list[tuple[float, float]]


def assign_tracks(
    spans: Mapping[tuple[Hashable, Hashable], Spans],
) -> tuple[dict[Hashable, int], dict[Hashable, int]]:
    """A track for every net in every channel, and the number of tracks by channel.

    Parameters
    ----------
    spans : mapping of (channel, net) to list of (float, float)
        The stretches of a channel that a net needs.
    """
    joined = {key: _joined(found) for key, found in spans.items()}
    longest = sorted(joined, key=lambda key: -sum(high - low for low, high in joined[key]))
    used: dict[Hashable, list[Spans]] = {}
    chosen: dict[Hashable, int] = {}
    for key in longest:
        tracks = used.setdefault(key[0], [])
        free = (
            number
            for number, track in enumerate(tracks)
            if not any(_overlaps(track, span) for span in joined[key])
        )
        number = next(free, len(tracks))
        if number == MOST_TRACKS:
            number = len(chosen) % MOST_TRACKS
        elif number == len(tracks):
            tracks.append([])
        for span in joined[key]:
            insort(tracks[number], span)
        chosen[key] = number
    return chosen, {channel: len(tracks) for channel, tracks in used.items()}


def _joined(spans: Spans) -> Spans:
    """The same stretches, sorted, with those that overlap made one."""
    joined: Spans = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return joined


def _overlaps(track: Spans, span: tuple[float, float]) -> bool:
    """Whether a stretch comes closer than one track to any of a sorted list."""
    low, high = span[0] - TRACK, span[1] + TRACK
    index = bisect_left(track, (low,))
    if index < len(track) and track[index][0] < high:
        return True
    return index > 0 and track[index - 1][1] > low
