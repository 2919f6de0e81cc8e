"""Traces of profiles: the trace event format, which Perfetto and chrome://tracing read."""

from __future__ import annotations

import json

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.native import limits
from graphnn.compiler.native.limits import Limits
from graphnn.compiler.profile_report import Profile
from graphnn.compiler.program import Program
from graphnn.core.errors import RenderError

LIMITS = Limits(2, 100e9, ((1000, 80e9), (100_000, 40e9)))
STEPS = 12


@pytest.fixture(autouse=True)
def known_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "measured_limits", lambda n: LIMITS)


def program() -> Program:
    """A loop, branches, and products before and after them."""
    x, flag = gn.input("x", shape=(STEPS, 4, 4)), gn.input("flag", shape=(), dtype="bool")
    w = gn.parameter(np.full((4, 4), 0.1, np.float32), name="w")
    h, _ = gn.scan(lambda h, x: (gn.tanh(h @ w + x), None), gn.zeros((4, 4)), x)
    y = gn.cond(flag, lambda h: gn.exp(h), lambda h: gn.sin(h) @ w, h)
    return gn.compile([x, flag], gn.sum(y), native="never")


@pytest.fixture(scope="module")
def made() -> tuple[Program, Profile]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "measured_limits", lambda n: LIMITS)
        step = program()
        return step, step.profile(np.ones((STEPS, 4, 4), np.float32), np.array(True), repeat=2)


def events_of(profile: Profile, tmp_path) -> list[dict]:
    path = profile.save(tmp_path / "trace.json")
    content = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(word))
    assert content["displayTimeUnit"] in ("ms", "ns")
    return content["traceEvents"]


def test_every_event_has_what_the_format_asks_for(made, tmp_path) -> None:
    """Required members by phase, as the format's description lists them."""
    for event in events_of(made[1], tmp_path):
        assert event["ph"] in ("M", "X", "C")
        assert isinstance(event["name"], str)
        assert event["name"]
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["ts"], int | float)
        assert event["ts"] >= 0
        assert isinstance(event["args"], dict)
        if event["ph"] == "X":
            assert isinstance(event["dur"], int | float)
            assert event["dur"] >= 0
            assert isinstance(event["cat"], str)
        elif event["ph"] == "C":
            assert all(isinstance(value, int | float) for value in event["args"].values())
        else:
            known = {"process_name": "name", "thread_name": "name",
                     "thread_sort_index": "sort_index"}  # fmt: skip
            assert known[event["name"]] in event["args"]


def test_events_of_a_row_are_nested_or_apart(made, tmp_path) -> None:
    rows: dict[int, list[tuple[float, float]]] = {}
    for event in events_of(made[1], tmp_path):
        if event["ph"] == "X":
            rows.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    for spans in rows.values():
        for n, (start, end) in enumerate(spans):
            for other, last in spans[:n]:
                is_apart = start >= last - 1e-9 or end <= other + 1e-9
                is_inside = other - 1e-9 <= start and end <= last + 1e-9
                assert is_apart or is_inside


def test_instructions_loops_and_branches_are_all_there(made, tmp_path) -> None:
    step, profile = made
    events = [event for event in events_of(profile, tmp_path) if event["ph"] == "X"]
    by_category: dict[str, list[dict]] = {}
    for event in events:
        by_category.setdefault(event["cat"], []).append(event)
    (call,) = by_category.pop("call")
    assert call["dur"] == pytest.approx(profile.call_ns / 1e3)
    (loop,) = by_category.pop("loop")
    assert loop["name"] == f"loop × {STEPS}"
    branches = by_category.pop("branch")
    assert [event["name"].split(" ")[0] for event in branches] == ["if", "unless"]
    instructions = sorted((e for each in by_category.values() for e in each),
                          key=lambda event: int(event["name"].split(" ")[0]))  # fmt: skip
    assert len(instructions) == len(step.instructions)
    inside = step.loops[0]
    for number, event in enumerate(instructions):
        assert event["dur"] == pytest.approx(profile.instructions[number].ns / 1e3)
        is_inside = inside.begin <= number < inside.end
        assert event["args"]["rounds"] == (STEPS if is_inside else 1)
        if is_inside:
            assert loop["ts"] - 1e-9 <= event["ts"]
            assert event["ts"] + event["dur"] <= loop["ts"] + loop["dur"] + 1e-9
    assert loop["dur"] == pytest.approx(
        sum(each.ns for each in profile.instructions[inside.begin : inside.end]) / 1e3
    )


def test_the_counter_is_the_live_memory(made, tmp_path) -> None:
    step, profile = made
    counts = [e["args"]["bytes"] for e in events_of(profile, tmp_path) if e["ph"] == "C"]
    assert counts == [*step.memory.live_nbytes[1:-1], 0]
    assert max(counts) == step.memory.peak_live


def test_a_trace_that_cannot_be_written(made, tmp_path) -> None:
    with pytest.raises(RenderError, match=r"a trace is JSON, but the file is named 'a\.svg'"):
        made[1].save(tmp_path / "a.svg")
    with pytest.raises(RenderError, match="cannot write"):
        made[1].save(tmp_path / "nowhere" / "a.json")
