"""Every kernel of every example, proven without a GPU: by the shim of CUDA, and by NVRTC."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cuda_shim
import numpy as np
import pytest
from example_programs import EXAMPLES, Called, programs_of
from lockstep import Launches, check_launches, launches_of
from loop_lockstep import Looped, check_loops, loops_of
from machine_code import check_machine_code, using_other_functions

import graphnn as gn
from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.nvrtc import Nvrtc

PROGRAMS = {
    "adding_problem": 10,
    "batch_norm_and_dropout": 11,
    "copy_memory": 10,
    "custom_rule": 0,  # `gn.evaluate` alone, which runs on the processor
    "demo": 6,
    "digits_cnn": 3,
    "expression": 1,
    "hopfield_digits": 7,
    "image_filters": 1,
    "invent_words": 3,
    "japanese_vowels": 4,
    "lenet": 3,
    "monte_carlo_dropout": 2,
    "optimizer_race": 98,
    "perceptron_gates": 18,
    "spelling_to_phonemes": 5,
    "sunspots": 6,
    "tabular": 9,
    "textbook_digits": 5,
    "vanishing_gradients": 11,
}
"""How many programs an example compiles and calls for ``backend="cupy"``, in its short form; found
by running them in earnest, for the recorder sees no more than an example lives to reach."""

REARRANGED = {
    "adding_problem": 9,
    "copy_memory": 9,
    "demo": 5,
    "monte_carlo_dropout": 5,
    "sunspots": 8,
    "vanishing_gradients": 6,
}
"""How many functions there are in loops that a GPU carries out in another way; others have none."""


@dataclass
class Example:
    """What an example calls, and what that launches.

    Attributes
    ----------
    name : str
    calls : list of Called
    launches : Launches
    looped : list of Looped
    """

    name: str
    calls: list[Called]
    launches: Launches
    looped: list[Looped]


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda path: path.stem)
def example(request: pytest.FixtureRequest) -> Example:
    for package in ("sklearn", "statsmodels", "matplotlib"):
        pytest.importorskip(package)
    with TemporaryDirectory() as folder:
        calls = programs_of(request.param, Path(folder))
    units = [each.unit for each in calls]
    looped = [each for each in map(loops_of, units) if each is not None]
    return Example(request.param.stem, calls, launches_of(units), looped)


def test_every_kernel_writes_what_numpy_does(example: Example) -> None:
    """In both orders of threads, and nothing beside it."""
    assert len(example.calls) == PROGRAMS[example.name]
    functions = {
        part.name
        for code in example.launches.codes.values()
        for part in code.parts
        if isinstance(part, Part)
    }
    assert check_launches(example.calls, example.launches) == functions


def test_every_loop_leaves_behind_what_numpy_does(example: Example) -> None:
    """As a GPU carries it out: with joined rounds, or all of them at once."""
    launched = {part for one in example.looped for loop in one.parts for part in one.launched(loop)}
    assert len(launched) == REARRANGED.get(example.name, 0)
    assert check_loops(example.calls) == launched


def test_every_kernel_becomes_machine_code_and_spills_nothing(
    example: Example, nvrtc: Nvrtc
) -> None:
    """For sm_90 all; for sm_80 one for every function of the prelude, where the two may differ."""
    looped = {code.source: code for each in example.looped for code in each.codes}
    whole = list((example.launches.codes | looped).values())
    for architecture, codes in ((90, whole), (80, using_other_functions(whole))) if whole else ():
        check_machine_code(nvrtc, codes, architecture)


# ----------------------------------------------------------------------- what the check would find


def softmax() -> tuple[list[Called], Launches]:
    """Rows that the threads of a block share."""
    x = gn.input("x", (3, 2000))
    unit = gn.compile(x, gn.softmax(x), backend="cupy").unit
    fed = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    return [Called(unit, [fed])], launches_of([unit])


MISTAKES = {
    "a barrier is missing": ("        __syncthreads();\n        int first", "        int first"),
    "a wrong lane is read": ("shared[first + warp]", "shared[first + warp - 1]"),
    "a row is left out": ("blockIdx.x * 1 + slot", "(blockIdx.x + 1) * 1 + slot"),
    "a lane takes other elements": ("at = lane + turn * 256", "at = lane + turn * 255"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong = MISTAKES[mistake]
    check_launches(*softmax())
    text_of = cuda_shim.shim_source

    def mistaken(codes: Any) -> str:
        text = text_of(codes)
        assert right in text
        return text.replace(right, wrong)

    monkeypatch.setattr(cuda_shim, "shim_source", mistaken)
    with pytest.raises(AssertionError, match=r"order of threads|write elsewhere|instead of"):
        check_launches(*softmax())


@cache
def recurrent(hidden: int) -> list[Called]:
    """A net whose loops are one launch each, or one for the kernel of every round."""
    x, net = gn.input("x", (9, 4, 5)), gn.nn.GRU(5, hidden)
    loss = gn.mean(net(x) ** 2)
    unit = gn.compile(x, [loss, *gn.grad(loss, net.parameters())], backend="cupy").unit
    fed = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    return [Called(unit, [fed])]


LOOP_MISTAKES = {
    "barriers are missing": (32, r" {12}__syncthreads\(\);\n", ""),
    "another round is read": (32, r"round \* 512ll", "(8 - round) * 512ll"),
    "a factor is added": (512, r"\((v\w+) \* (v\w+)\)", r"(\1 + \2)"),
}


@pytest.mark.parametrize("mistake", LOOP_MISTAKES)
def test_a_mistake_in_a_loop_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, right, wrong = LOOP_MISTAKES[mistake]
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
