"""Every kernel of every example, proven without a GPU: by the shim of CUDA, and by NVRTC."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cuda_shim
import numpy as np
import pytest
from example_programs import EXAMPLES, Called, programs_of
from lockstep import Launches, check_launches, launches_of
from machine_code import check_machine_code, one_of_a_kind

import graphnn as gn
from graphnn.compiler.cuda.code import Part
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

every_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


@cache
def recorded(path: Path) -> tuple[list[Called], Launches]:
    for package in ("sklearn", "statsmodels", "matplotlib"):
        pytest.importorskip(package)
    with TemporaryDirectory() as folder:
        calls = programs_of(path, Path(folder))
    return calls, launches_of([each.unit for each in calls])


@every_example
def test_every_kernel_writes_what_numpy_does(path: Path) -> None:
    """In both orders of threads, and nothing beside it."""
    calls, launches = recorded(path)
    assert len(calls) == PROGRAMS[path.stem]
    functions = {
        part.name
        for code in launches.codes.values()
        for part in code.parts
        if isinstance(part, Part)
    }
    assert check_launches(calls, launches) == functions


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


# ---------------------------------------------------------------------------------- machine code


@every_example
def test_every_kernel_becomes_machine_code_and_spills_nothing(path: Path, nvrtc: Nvrtc) -> None:
    """For sm_90 all; for sm_80 one of those that differ in sizes alone."""
    whole = list(recorded(path)[1].codes.values())
    for architecture, codes in ((90, whole), (80, one_of_a_kind(whole))) if whole else ():
        check_machine_code(nvrtc, codes, architecture)
