"""Loops of examples as a GPU carries them out: joined rounds, and loops that are one launch."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cuda_shim
import numpy as np
import pytest
from example_programs import EXAMPLES, Called, programs_of
from loop_lockstep import Looped, check_loops, loops_of

import graphnn as gn
from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.cubins import ELF, source_of
from graphnn.compiler.cuda.nvrtc import Nvrtc

REARRANGED = {
    "adding_problem": 9,
    "copy_memory": 9,
    "demo": 5,
    "monte_carlo_dropout": 5,
    "sunspots": 8,
    "vanishing_gradients": 6,
}
"""How many functions the rearranged loops of an example launch; others have none."""

every_loop = pytest.mark.parametrize("name", REARRANGED)


@cache
def recorded(name: str) -> list[Called]:
    """What an example calls."""
    for package in ("sklearn", "statsmodels", "matplotlib"):
        pytest.importorskip(package)
    (path,) = (each for each in EXAMPLES if each.stem == name)
    with TemporaryDirectory() as folder:
        return programs_of(path, Path(folder))


def looped(calls: Sequence[Called]) -> list[Looped]:
    return [each for each in (loops_of(call.unit) for call in calls) if each is not None]


def launched(calls: Sequence[Called]) -> frozenset[Part]:
    parts = (one.launched(loop) for one in looped(calls) for loop in one.parts)
    return frozenset().union(*parts)


@every_loop
def test_a_loop_leaves_behind_what_numpy_does(name: str) -> None:
    """In both orders of threads, and nothing beside it."""
    calls = recorded(name)
    assert len(launched(calls)) == REARRANGED[name]
    assert check_loops(calls) == launched(calls)


@every_loop
def test_the_functions_of_loops_spill_nothing(name: str, nvrtc: Nvrtc) -> None:
    codes: dict[str, Code] = {
        code.source: code for each in looped(recorded(name)) for code in each.codes
    }
    made = nvrtc.compile(source_of(list(codes.values())), 90, ("-Xptxas=-v",))
    assert made.cubin.startswith(ELF)
    spills = [line for line in made.log.splitlines() if "spill stores" in line]
    assert len(spills) >= REARRANGED[name]
    assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in spills), spills


# ----------------------------------------------------------------------- what the check would find


@cache
def recurrent(hidden: int) -> list[Called]:
    """A net whose loops are one launch each, or one for the kernel of every round."""
    x, net = gn.input("x", (9, 4, 5)), gn.nn.GRU(5, hidden)
    loss = gn.mean(net(x) ** 2)
    unit = gn.compile(x, [loss, *gn.grad(loss, net.parameters())], backend="cupy").unit
    fed = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    return [Called(unit, [fed])]


MISTAKES = {
    "barriers are missing": (32, r" {12}__syncthreads\(\);\n", ""),
    "another round is read": (32, r"round \* 512ll", "(8 - round) * 512ll"),
    "a factor is added": (512, r"= (v\d+) \* (v\d+);", r"= \1 + \2;"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, right, wrong = MISTAKES[mistake]
    check_loops(recurrent(hidden))
    text_of, changed = cuda_shim.shim_source, []

    def mistaken(codes: Sequence[Code]) -> str:
        texts = [re.subn(right, wrong, code.source) for code in codes]
        changed.extend(count for _, count in texts)
        return text_of(
            [replace(code, source=text) for code, (text, _) in zip(codes, texts, strict=True)]
        )

    monkeypatch.setattr(cuda_shim, "shim_source", mistaken)
    with pytest.raises(AssertionError, match=r"order of threads|off, of|little is written"):
        check_loops(recurrent(hidden))
    assert any(changed)
