"""A profile in the trace event format, which Perfetto and chrome://tracing show on a time axis.

The format is that of "Trace Event Format" (the Chromium project, 2016): an object with a list
``traceEvents`` of objects; times are in microseconds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphnn.compiler.regions import Loop, Region, words_of
from graphnn.core.errors import RenderError

if TYPE_CHECKING:
    from graphnn.compiler.profile_report import InstructionProfile, Profile

__all__ = ["trace_events", "write_trace"]

PROCESS = 1
CALL, INSTRUCTIONS = 1, 2
"""Numbers of the two rows: the whole call, and its instructions one after the other."""


def trace_events(profile: Profile) -> dict[str, Any]:
    """A profile as an object of the trace event format.

    One row shows what a whole call takes. Below it are the instructions, one after the other, with
    what each of them takes in all rounds of the loops around it; threads may carry out several at
    a time, so that a call may take less. Loops and branches are events around them. Bytes of the
    arena that are live are a counter.
    """
    return {
        "traceEvents": [*_names(profile), *_events(profile)],
        "displayTimeUnit": "ns",
        "otherData": {
            "repeat": profile.repeat,
            "n_threads": profile.limits.n_threads,
            "gpu": profile.limits.gpu,
        },
    }


def write_trace(profile: Profile, path: str | os.PathLike[str]) -> Path:
    """Write the trace of a profile to a file.

    Raises
    ------
    RenderError
        If its name does not end with ``.json``, or it cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() != ".json":
        raise RenderError(
            f"a trace is JSON, but the file is named {target.name!r}",
            hint='profile.save("trace.json") for Perfetto; profile.plot("roofline.svg") for a plot',
            where="",
        )
    try:
        target.write_text(json.dumps(trace_events(profile), indent=1) + "\n")
    except OSError as error:
        raise RenderError(
            f"cannot write {target}: {error.strerror}",
            hint="is its folder there and yours to write?",
            where="",
        ) from None
    return target


def _names(profile: Profile) -> Iterator[dict[str, Any]]:
    limits = profile.limits
    yield _named("process_name", "name", "graphnn program")
    for row, words in (
        (CALL, f"call {'on' if limits.gpu else 'with'} {limits.who}"),
        (INSTRUCTIONS, "instructions, one after the other"),
    ):
        yield _named("thread_name", "name", words, row)
        yield _named("thread_sort_index", "sort_index", row, row)


def _named(event: str, key: str, value: str | int, row: int = 0) -> dict[str, Any]:
    return {"name": event, "ph": "M", "pid": PROCESS, "tid": row, "ts": 0, "args": {key: value}}


def _events(profile: Profile) -> Iterator[dict[str, Any]]:
    starts = [0.0]
    for each in profile.instructions:
        starts.append(starts[-1] + each.ns)
    about = {"median of runs": profile.repeat, "ns of instructions": profile.ns}
    yield _span("call", "call", CALL, 0.0, profile.call_ns, about)
    waiting = list(reversed(profile.regions))  # the outer ones come first
    for each in profile.instructions:
        while waiting and waiting[-1].begin == each.number:
            yield _region(waiting.pop(), starts)
        if profile.live_nbytes:
            yield _counter(starts[each.number], profile.live_nbytes[each.number])
        args = _details(each, profile.rounds(each.number))
        words = f"{each.number} {each.label}"
        yield _span(words, each.kind, INSTRUCTIONS, starts[each.number], each.ns, args)
    if profile.live_nbytes:
        yield _counter(starts[-1], 0)


def _region(region: Region, starts: list[float]) -> dict[str, Any]:
    if isinstance(region, Loop):
        name = f"loop × {region.count}" if region.count is not None else "while"
        category = "loop"
    else:
        name, category = words_of(region).removesuffix(": "), "branch"
    begin, end = starts[region.begin], starts[region.end]
    args = {"instructions": f"{region.begin} to {region.end - 1}"}
    return _span(name, category, INSTRUCTIONS, begin, end - begin, args)


def _details(each: InstructionProfile, rounds: int) -> dict[str, Any]:
    return {
        "where": each.where,
        "rounds": rounds,
        "ns per round": each.ns / max(rounds, 1),
        "FLOPs": each.flops,
        "bytes": each.nbytes,
        "GFLOP/s": each.gflops,
        "GB/s": each.gbytes,
        "percent of limit": each.percent,
        "limit": each.bound,
    }


def _span(
    name: str, category: str, row: int, start: float, length: float, args: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "cat": category,
        "ph": "X",
        "ts": start / 1e3,
        "dur": length / 1e3,
        "pid": PROCESS,
        "tid": row,
        "args": args,
    }


def _counter(start: float, nbytes: int) -> dict[str, Any]:
    return {
        "name": "live memory",
        "ph": "C",
        "ts": start / 1e3,
        "pid": PROCESS,
        "tid": INSTRUCTIONS,
        "args": {"bytes": nbytes},
    }
