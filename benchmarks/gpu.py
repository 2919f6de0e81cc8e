"""graphnn on a GPU beside PyTorch (eager, compiled, cuDNN's LSTM and GRU) and JAX.

The rows are those of `cases/` in sizes for a GPU; all that the processor's table has can be asked
for as well. Every library runs a row in a process of its own: a warm-up, then repeats of so many
runs that are waited for together. Data and parameters lie on the GPU. "call" is how long the host
is busy with a run. The first row is a copy of 1 GiB within the GPU, which others are compared with
that only move memory. What a step costs launch by launch, and its products alone by cuBLAS, are
libraries too: "graphnn, launch by launch" and "cuBLAS, the products".

Each row is run in these ways, by the libraries that have them:

- float32: strict.
- tf32: factors of matrix products have 11 binary digits.
- bfloat16 products: arrays are float32; factors of their products are rounded (graphnn, JAX).
- autocast: products, and what follows them, are arrays of bfloat16 (graphnn, PyTorch).

    .venv/bin/python benchmarks/gpu.py                       # sizes for a GPU
    .venv/bin/python benchmarks/gpu.py --only '*'            # and those of the processor's table
    .venv/bin/python benchmarks/gpu.py --quick               # does it work? one repeat of each
    .venv/bin/python benchmarks/gpu.py --only 'lstm*' copy --libraries graphnn torch

"graphnn-plain" is without products that cuBLASLt finishes; it is run when it is asked for.

What is not installed, or fails, is a word in the table. Without a GPU it says so and ends with 1.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from cases import (
    Case,
    all_cases,
    chains,
    convolutions,
    embedding,
    lenet,
    mlp,
    normalization,
    recurrent,
)
from cases.case import Arrays
from written import write

import graphnn as gn
from graphnn.compiler.cuda.code import Matrices
from graphnn.compiler.cuda.cupy_device import current_device
from graphnn.compiler.cuda.requirements import gpu_words, require_gpu
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.core.dtypes import as_dtype
from graphnn.core.errors import DeviceError, MissingPackageError

WAYS = ("float32", "tf32", "bfloat16 products", "autocast")
PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "nvidia-cublas", "torch", "jax")
REPEATS, TURN_SECONDS = 9, 0.3
LIMIT_SECONDS = 600
COPY_NBYTES = 1 << 30


def rows() -> dict[str, Case]:
    """All rows by name: those in sizes for a GPU, then the processor's."""
    return large_rows() | all_cases()


def large_rows() -> dict[str, Case]:
    """The rows in sizes for a GPU."""
    found = [
        Case(f"mlp-{batch}-{hidden}", f"MLP 784-{hidden}-10, batch {batch}",
             partial(mlp.arrays, batch, 784, hidden, 10), mlp.FUNCTIONS,
             transposed=frozenset({"w1", "w2"}))
        for batch, hidden in ((128, 512), (4096, 4096))
    ]  # fmt: skip
    (small,) = lenet.cases(tiny=False)
    found += [
        Case(f"lenet-{batch}", f"LeNet, batch {batch}",
             partial(lenet.arrays, batch, 28, (6, 16), 120), small.functions,
             transposed=small.transposed)
        for batch in (64, 1024)
    ]  # fmt: skip
    found += [
        convolutions.case_of(convolutions.Shape(*shape))
        for shape in (
            (256, 64, 56, 64, 3),
            (256, 256, 14, 256, 3),
            (256, 128, 28, 256, 3, 2),
            (256, 256, 28, 64, 1),
        )
    ]
    for layer, gates in (("lstm", 4), ("gru", 3)):
        known = next(each for each in recurrent.cases(tiny=False) if each.name.startswith(layer))
        for steps, batch, hidden in ((100, 32, 128), (256, 64, 512), (1024, 16, 768)):
            shape = recurrent.Shape(steps, batch, hidden, hidden)
            found.append(
                Case(f"{layer}-{steps}-{batch}-{hidden}",
                     f"{layer.upper()}, {steps} steps, batch {batch}, {hidden} units",
                     partial(recurrent.arrays, shape, gates), known.functions,
                     transposed=known.transposed)
            )  # fmt: skip
    (norm,) = normalization.cases(tiny=False)
    found.append(
        Case("norm-65536", "layer norm, gelu, mean square, 65536x1024",
             partial(normalization.arrays, 65536, 1024), norm.functions, mode="gradient",
             nbytes=2.0 * 4 * 65536 * 1024)
    )  # fmt: skip
    libraries = {"graphnn": chains.with_graphnn, "torch": chains.with_torch, "jax": chains.with_jax}
    found.append(
        Case("chain-10-67108864", "10 elementwise operations on 64 Mi numbers",
             partial(chains.arrays, 1 << 26),
             {name: partial(each, 10) for name, each in libraries.items()}, mode="value",
             nbytes=2.0 * 4 * (1 << 26))
    )  # fmt: skip
    count, n_rows, features = 1 << 16, 50_000, 512
    looked_up = {
        "graphnn": embedding.with_graphnn,
        "torch": embedding.with_torch,
        "jax": embedding.with_jax,
    }
    found.append(
        Case("embedding", "65,536 rows of 512 numbers looked up, and the gradient",
             partial(embedding.arrays, count, n_rows, features), looked_up, mode="gradient",
             nbytes=4.0 * features * (count + n_rows))
    )  # fmt: skip
    return {each.name: each for each in found}


# ------------------------------------------------------------------------ how libraries run a row

Run = Callable[[], Any]
"""Runs once; gives the loss, or the result, on the GPU."""

Prepared = tuple[Run, Callable[[], None], Callable[[Any], float]]
"""A run, what waits for all runs so far, and a number to compare of what a run gave."""


def program_of(
    case: Case,
    parameters: Arrays,
    data: Arrays,
    way: str,
    *,
    launch: str = "graph",
    skip: Sequence[str] = (),
) -> gn.Program:
    """A row as a program."""
    function = case.functions["graphnn"]()
    inputs = {name: gn.input(name, each.shape, each.dtype) for name, each in data.items()}
    weights: dict[str, Any] = {name: gn.parameter(each, name) for name, each in parameters.items()}
    result = function(weights, inputs)
    if way == "autocast":
        result = gn.autocast(result, "bfloat16")
    outputs, updates = result, {}
    if case.mode == "step":
        updates = gn.optim.SGD(case.learning_rate).minimize(result, list(weights.values()))
    elif case.mode == "gradient":
        outputs = result, gn.grad(result, weights)
    precision = {"tf32": "tf32", "bfloat16 products": "bfloat16"}.get(way, "float32")
    return gn.compile(
        list(inputs.values()),
        outputs,
        updates,
        backend="cupy",
        matmul_precision=precision,
        launch=launch,
        skip=skip,
    )


def with_graphnn(
    case: Case, parameters: Arrays, data: Arrays, way: str, **options: Any
) -> Prepared:
    cupy = require_gpu()
    program = program_of(case, parameters, data, way, **options)
    fed = [cupy.asarray(each) for each in data.values()]

    def first(value: Any) -> float:
        return float((value[0] if case.mode == "gradient" else value).sum())

    return partial(program, *fed), cupy.cuda.Device().synchronize, first


def with_products(case: Case, parameters: Arrays, data: Arrays, way: str) -> Prepared:
    """What cuBLAS does of graphnn's program, and nothing else: one recording, on empty memory."""
    unit = program_of(case, parameters, data, way).unit
    device, work = current_device(), []
    for step, count in zip(steps_of(unit)[0], unit.runs, strict=True):
        for matrices in (each.does for each in step.launches if isinstance(each.does, Matrices)):
            function = device.product(matrices, unit.options.matmul_precision)
            memory = [device.allocate(nbytes) for nbytes in operand_nbytes(matrices)]
            work += [(function, [device.address(each) for each in memory], memory)] * count
    if not work:
        raise ValueError("there are no products in it")

    def multiply() -> None:
        for function, addresses, _ in work:
            function(addresses)

    with device.turn():
        multiply()
        recorded = device.record(multiply)

    def run() -> float:
        with device.turn():
            recorded()
        return 0.0

    return run, device.wait, float


def operand_nbytes(matrices: Matrices) -> list[int]:
    """From the first to behind the last element of left, right and out."""
    m, n, k, batch = matrices.m, matrices.n, matrices.k, matrices.batch
    sides = (matrices.left, m, k), (matrices.right, k, n), (matrices.out, m, n)
    return [
        (lies.batch * (batch - 1) + lies.row * (rows - 1) + lies.column * (columns - 1) + 1)
        * as_dtype(matrices.dtype).itemsize
        for lies, rows, columns in sides
    ]


def with_torch(
    case: Case,
    parameters: Arrays,
    data: Arrays,
    way: str,
    *,
    is_compiled: bool = False,
    device: str = "cuda",
) -> Prepared:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = way == "tf32"
    torch.backends.cudnn.allow_tf32 = way == "tf32"
    # What a row makes for itself lies there too.
    torch.set_default_device(device)
    function = case.functions["torch"]()
    function = torch.compile(function) if is_compiled else function

    def tensor(name: str, array: np.ndarray) -> Any:
        return torch.tensor(array.T.copy() if name in case.transposed else array, device=device)

    d = {name: tensor(name, each) for name, each in data.items()}
    p = {name: tensor(name, each).requires_grad_() for name, each in parameters.items()}
    optimizer = torch.optim.SGD(p.values(), case.learning_rate) if p else None

    def run() -> Any:
        with torch.autocast(device, torch.bfloat16) if way == "autocast" else nullcontext():
            result = function(p, d)
        if case.mode != "value":
            for each in p.values():
                each.grad = None
            result.backward()
        if case.mode == "step" and optimizer is not None:
            optimizer.step()
        return result.detach()

    return run, torch.cuda.synchronize, lambda value: float(value.sum())


def with_jax(case: Case, parameters: Arrays, data: Arrays, way: str) -> Prepared:
    import jax

    words = {"float32": "float32", "tf32": "tensorfloat32", "bfloat16 products": "bfloat16"}
    jax.config.update("jax_default_matmul_precision", words[way])
    function = case.functions["jax"]()
    p, d = (jax.device_put(each) for each in (parameters, data))
    if case.mode == "value":
        step: Any = jax.jit(lambda p, d: (p, function(p, d)))
    elif case.mode == "gradient":
        step = jax.jit(lambda p, d: (p, jax.value_and_grad(function)(p, d)))
    else:

        def descend(p: Any, d: Any) -> Any:
            loss, gradients = jax.value_and_grad(function)(p, d)
            return jax.tree.map(lambda w, g: w - case.learning_rate * g, p, gradients), loss

        step = jax.jit(descend, donate_argnums=0)
    state = {"p": p, "out": None}

    def run() -> Any:
        state["p"], state["out"] = step(state["p"], d)
        return state["out"]

    def first(value: Any) -> float:
        return float((value[0] if case.mode == "gradient" else value).sum())

    return run, lambda: jax.block_until_ready((state["p"], state["out"])), first


LIBRARIES: Mapping[str, Callable[..., Prepared]] = {
    "graphnn": with_graphnn,
    "graphnn, launch by launch": partial(with_graphnn, launch="stream"),
    "cuBLAS, the products": with_products,
    "torch": with_torch,
    "torch.compile": partial(with_torch, is_compiled=True),
    "jax": with_jax,
    "graphnn-plain": partial(with_graphnn, skip=("finish_products",)),
}
USUAL = [each for each in LIBRARIES if each != "graphnn-plain"]

HAVE: Mapping[str, frozenset[str]] = {
    "bfloat16 products": frozenset({"graphnn", "cuBLAS, the products", "jax"}),
    "autocast": frozenset(LIBRARIES) - {"jax"},
}
"""Which libraries have a way, where not all do."""


def takes_part(case: Case, library: str, way: str) -> bool:
    """Whether a library runs a row in a way."""
    return library in HAVE.get(way, LIBRARIES) and functions_of(library) in case.functions


def functions_of(library: str) -> str:
    """By which of a row's functions a library runs it."""
    return {"torch.compile": "torch", "jax": "jax", "torch": "torch"}.get(library, "graphnn")


# -------------------------------------------------------------------------------------- measuring


def measured(run: Run, wait: Callable[[], None], *, is_quick: bool) -> dict[str, float]:
    """Seconds of a run, and for which the host is busy with it."""
    for _ in range(3):
        run()
    wait()
    start = time.perf_counter()
    run()
    wait()
    n_runs = max(1, min(1000, int(TURN_SECONDS / (time.perf_counter() - start))))
    whole, calls = [], []
    for _ in range(1 if is_quick else REPEATS):
        start = time.perf_counter()
        for _ in range(n_runs):
            run()
        called = time.perf_counter()
        wait()
        whole.append((time.perf_counter() - start) / n_runs)
        calls.append((called - start) / n_runs)
    return {"seconds": statistics.median(whole), "call": statistics.median(calls)}


def copying(*, is_quick: bool) -> dict[str, float]:
    """A copy within the GPU."""
    cupy = require_gpu()
    source, target = (cupy.zeros(COPY_NBYTES, "uint8") for _ in range(2))
    wait = cupy.cuda.Device().synchronize
    return measured(lambda: cupy.copyto(target, source), wait, is_quick=is_quick)


def work(name: str, library: str, way: str, *, is_quick: bool) -> dict[str, float]:
    """What a process of its own does: one row by one library."""
    if name == "copy":
        return copying(is_quick=is_quick)
    case = rows()[name]
    run, wait, first = LIBRARIES[library](case, *case.arrays(), way)
    start = time.perf_counter()
    loss = first(run())
    found = {"first": loss, "start": time.perf_counter() - start}
    return found | measured(run, wait, is_quick=is_quick)


def asked(name: str, library: str, way: str, *, is_quick: bool) -> dict[str, Any]:
    """A row by a library, measured by a new process."""
    command = [sys.executable, __file__, "--worker", name, library, way]
    told: dict[str, Any] = {"row": name, "library": library, "way": way}
    try:
        done = subprocess.run(
            command + ["--quick"] * is_quick, capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return told | {"failed": f"more than {LIMIT_SECONDS} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return told | {"failed": lines[-1][:200]}
    return told | json.loads(done.stdout.splitlines()[-1])


def cell(found: Mapping[str, Any], case: Case | None, copied: float | None) -> dict[str, str]:
    """One line of the table."""
    shown = {"row": case.title if case else "copy of 1 GiB"}
    shown |= {each: str(found[each]) for each in ("library", "way")}
    if "failed" in found:
        return shown | {"ms": found["failed"], "call, us": "", "of the copy": "", "first": ""}
    nbytes = case.nbytes if case else 2.0 * COPY_NBYTES
    share = nbytes / found["seconds"] / copied if nbytes and copied else 0.0
    return shown | {
        "ms": f"{found['seconds'] * 1e3:.3f}",
        "call, us": f"{found['call'] * 1e6:.0f}",
        "of the copy": f"{share:.0%}" if share else "",
        "first": f"{found['first']:.6g}" if "first" in found else "",
    }


def main() -> int:
    """Measure all rows that are asked for, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", help="patterns of rows; else sizes for a GPU")
    parser.add_argument("--libraries", nargs="+", default=USUAL, choices=list(LIBRARIES))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    try:
        require_gpu()
    except (MissingPackageError, DeviceError) as error:
        print(error, file=sys.stderr)
        return 1
    if chosen.worker:
        print(json.dumps(work(*chosen.worker, is_quick=chosen.quick)))
        return 0
    known = rows()
    patterns = chosen.only or list(large_rows())
    names = ["copy", *(n for n in known if any(fnmatch.fnmatch(n, p) for p in patterns))]
    results, cells, copied = [], [], None
    for name in names:
        case = known.get(name)
        for way in chosen.ways[:1] if case is None else chosen.ways:
            for library in chosen.libraries[:1] if case is None else chosen.libraries:
                if case is not None and not takes_part(case, library, way):
                    continue
                found = asked(name, library, way, is_quick=chosen.quick)
                if case is None and "seconds" in found:
                    copied = 2.0 * COPY_NBYTES / found["seconds"]
                results.append(found)
                cells.append(cell(found, case, copied))
                print(" | ".join(cells[-1].values()), flush=True)
    installed = {each.name: each.version for each in metadata.distributions()}
    versions = ", ".join(f"{name} {installed[name]}" for name in PACKAGES if name in installed)
    note = f"{gpu_words()}; {versions}. Medians of {REPEATS} repeats; 'first': before any update."
    write(chosen.out, "gpu", results, cells, note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
