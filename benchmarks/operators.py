"""Operations and transforms side by side with PyTorch, and what an import costs.

Every row is measured in alternation, in one process, on one thread; the table gives medians in
milliseconds and the ratio to PyTorch (below 1 is faster). Rows are forward passes with their
gradients unless the name says otherwise.

    .venv/bin/python -m pip install torch
    .venv/bin/python benchmarks/operators.py [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scaling import machine
from torch.nn import functional

import graphnn as gn

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Pair = tuple[Callable[[], Any], Callable[[], Any]]
"""What is measured: ours and PyTorch's."""

RNG = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def with_gradient(
    ours: Callable[..., gn.Node], peer: Callable[..., torch.Tensor], *arrays: np.ndarray
) -> Pair:
    """Value and gradients of the sum of squares, by float arguments."""
    nodes = [gn.input(f"x{i}", each.shape, each.dtype) for i, each in enumerate(arrays)]
    y = ours(*nodes)
    floats = [node for node in nodes if node.dtype.kind == "f"]
    program = gn.compile(nodes, [y, *gn.grad(gn.sum(gn.square(y)), floats)])
    tensors = [torch.tensor(each, requires_grad=each.dtype.kind == "f") for each in arrays]

    def run_peer() -> Any:
        for each in tensors:
            each.grad = None
        peer(*tensors).square().sum().backward()

    return lambda: program(*arrays), run_peer


def forward(ours: Callable[..., Any], peer: Callable[..., Any], *arrays: np.ndarray) -> Pair:
    """The value alone."""
    nodes = [gn.input(f"x{i}", each.shape, each.dtype) for i, each in enumerate(arrays)]
    program = gn.compile(nodes, ours(*nodes))
    tensors = [torch.tensor(each) for each in arrays]
    return lambda: program(*arrays), lambda: peer(*tensors)


def per_example_gradients() -> Pair:
    """Of a two-layer network, for 256 examples."""
    x, t = drawn(256, 64), drawn(256, 10)
    weights = {"a": drawn(64, 128) / 8, "b": drawn(128, 10) / 11}

    def loss(p: Any, row: Any, target: Any) -> Any:
        return gn.sum(gn.square(gn.tanh(row @ p["a"]) @ p["b"] - target))

    ours = gn.function(gn.vmap(gn.grad(loss), (None, 0, 0)))

    def peer_loss(p: Any, row: Any, target: Any) -> Any:
        return (torch.tanh(row @ p["a"]) @ p["b"] - target).square().sum()

    peer = torch.func.vmap(torch.func.grad(peer_loss), (None, 0, 0))
    tensors = {name: torch.tensor(each) for name, each in weights.items()}
    rows, targets = torch.tensor(x), torch.tensor(t)
    return lambda: ours(weights, x, t), lambda: peer(tensors, rows, targets)


def jacobian() -> Pair:
    """Of a layer of 256 neurons by its 256 inputs, in reverse mode."""
    w, x = drawn(256, 256) / 16, drawn(256)
    ours = gn.function(gn.jacrev(lambda row: gn.tanh(w @ row)))
    matrix, row = torch.tensor(w), torch.tensor(x)
    peer = torch.func.jacrev(lambda each: torch.tanh(matrix @ each))
    return lambda: ours(x), lambda: peer(row)


def sparse() -> Pair:
    """100,000 entries in 10,000 rows, times 10,000 x 64; forward alone."""
    import scipy.sparse

    pattern = scipy.sparse.random(10_000, 10_000, 1e-3, "csr", np.float32, 0)
    dense = drawn(10_000, 64)
    x = gn.input("x", dense.shape)
    program = gn.compile(x, gn.csr(pattern) @ x)
    parts = (torch.tensor(each) for each in (pattern.indptr, pattern.indices, pattern.data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls its sparse tensors a beta version
        peer = torch.sparse_csr_tensor(*parts, pattern.shape)
    tensor = torch.tensor(dense)
    return lambda: program(dense), lambda: peer @ tensor


def codes(*shape: int, below: int) -> np.ndarray:
    return RNG.integers(0, below, shape)


def spd(*shape: int) -> np.ndarray:
    a = drawn(*shape)
    return a @ a.swapaxes(-1, -2) + np.eye(shape[-1], dtype=np.float32) * shape[-1]


def rows() -> dict[str, Pair]:
    """All that is measured."""
    head = (8, 8, 128, 64)
    return {
        "conv 3x3, 32 to 64 channels, 32 x 28 x 28": with_gradient(
            lambda x, k: gn.conv(x, k, padding=1),
            lambda x, k: functional.conv2d(x, k, padding=1),
            drawn(32, 32, 28, 28),
            drawn(64, 32, 3, 3),
        ),
        "conv 3x3, stride 2": with_gradient(
            lambda x, k: gn.conv(x, k, stride=2, padding=1),
            lambda x, k: functional.conv2d(x, k, stride=2, padding=1),
            drawn(32, 32, 28, 28),
            drawn(64, 32, 3, 3),
        ),
        "depthwise conv 3x3, 64 channels": with_gradient(
            lambda x, k: gn.conv(x, k, padding=1, groups=64),
            lambda x, k: functional.conv2d(x, k, padding=1, groups=64),
            drawn(8, 64, 28, 28),
            drawn(64, 1, 3, 3),
        ),
        "max pool 2x2, 32 x 32 x 28 x 28": with_gradient(
            lambda x: gn.max_pool(x, 2),
            lambda x: functional.max_pool2d(x, 2),
            drawn(32, 32, 28, 28),
        ),
        "average pool 3x3, stride 2": with_gradient(
            lambda x: gn.avg_pool(x, 3, stride=2),
            lambda x: functional.avg_pool2d(x, 3, 2),
            drawn(32, 32, 28, 28),
        ),
        "layer norm 2048 x 512": with_gradient(
            lambda x, w, b: gn.layer_norm(x, weight=w, bias=b),
            lambda x, w, b: functional.layer_norm(x, (512,), w, b),
            *(drawn(2048, 512), drawn(512), drawn(512)),
        ),
        "attention, causal, 8 x 8 heads x 128 x 64": with_gradient(
            lambda q, k, v: gn.scaled_dot_product_attention(q, k, v, is_causal=True),
            lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
            *(drawn(*head), drawn(*head), drawn(*head)),
        ),
        "embedding, 8192 of 10,000 rows of 64": with_gradient(
            gn.embedding, functional.embedding, codes(8192, below=10_000), drawn(10_000, 64)
        ),
        "segment sum, 100,000 rows of 16 into 1000": with_gradient(
            lambda x, s: gn.segment_sum(x, s, 1000),
            lambda x, s: torch.zeros(1000, 16).index_add(0, s, x),
            *(drawn(100_000, 16), codes(100_000, below=1000)),
        ),
        "sort 1,000,000, forward": forward(gn.sort, torch.sort, drawn(1_000_000)),
        "top 10 of 1000 x 1000, forward": forward(
            lambda x: gn.top_k(x, 10), lambda x: torch.topk(x, 10), drawn(1000, 1000)
        ),
        "quantile of 1000 x 1000": with_gradient(
            lambda x: gn.quantile(x, 0.3, -1),
            lambda x: torch.quantile(x, 0.3, -1),
            drawn(1000, 1000),
        ),
        "solve 64 x (64, 64)": with_gradient(
            gn.solve, torch.linalg.solve, spd(64, 64, 64), drawn(64, 64, 8)
        ),
        "cholesky 64 x (64, 64)": with_gradient(
            gn.cholesky, torch.linalg.cholesky, spd(64, 64, 64)
        ),
        "singular values 16 x (64, 64)": with_gradient(
            gn.svdvals, torch.linalg.svdvals, drawn(16, 64, 64)
        ),
        "fft2 of 8 x 512 x 512, forward": forward(
            lambda x: gn.abs(gn.fft2(x)),
            lambda x: torch.abs(torch.fft.fft2(x)),
            drawn(8, 512, 512),
        ),
        "sparse product, forward": sparse(),
        "vmap: 256 per-example gradients": per_example_gradients(),
        "jacrev: 256 x 256": jacobian(),
    }


def median_times(pair: Pair, seconds: float) -> tuple[float, float]:
    """Medians in milliseconds, measured in alternation for about so long."""
    times: tuple[list[float], list[float]] = ([], [])
    for function in pair:
        function()
    end = time.perf_counter() + seconds
    while len(times[0]) < 5 or time.perf_counter() < end:
        for place, function in enumerate(pair):
            start = time.perf_counter()
            function()
            times[place].append((time.perf_counter() - start) * 1e3)
    ours, peer = map(statistics.median, times)
    return ours, peer


def import_seconds(statement: str, repeats: int = 9) -> float:
    """Median processor time of an import in a fresh interpreter, NumPy apart."""
    code = (
        "import time, numpy; start = time.process_time()\n"
        f"{statement}\nprint(time.process_time() - start)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-P", "-c", code]
    found = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        for _ in range(repeats)
    ]
    return statistics.median(float(each.stdout) for each in found)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row")
    options = parser.parse_args()
    if not ONE_THREAD.items() <= os.environ.items():
        # The libraries read this when they are loaded: start once more.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    torch.set_num_threads(1)
    table = {}
    print(f"{'row':44} {'graphnn ms':>11} {'torch ms':>9} {'ratio':>6}")
    for name, pair in rows().items():
        ours, peer = median_times(pair, options.seconds)
        table[name] = {
            "graphnn_ms": round(ours, 3),
            "torch_ms": round(peer, 3),
            "ratio": round(ours / peer, 2),
        }
        print(f"{name:44} {ours:11.2f} {peer:9.2f} {ours / peer:6.2f}", flush=True)
    imports = {
        "import graphnn": round(import_seconds("import graphnn"), 3),
        "and every family": round(import_seconds("import graphnn; graphnn.ops.load_all()"), 3),
    }
    for name, each in imports.items():
        print(f"{name:44} {each * 1e3:11.0f}")
    result = {
        "machine": {**machine(), "torch": torch.__version__, "threads": "1"},
        "rows": table,
        "import_seconds": imports,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "operators.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
