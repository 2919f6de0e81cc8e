"""Values and gradients beside PyTorch's, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
from checks import as_list
from drawing import Array

import graphnn as gn

RTOL = 1e-12
"""Both compute in float64; sums and transcendental functions differ by some units."""


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-2.0, 2.0, shape)


def compare(
    ours: Callable[..., Any], theirs: Callable[..., Any], *arrays: Any, rtol: float = RTOL
) -> None:
    """The same value or values, and the same gradient of a weighted sum by every array."""
    import torch

    given = [np.asarray(array, np.float64) for array in arrays]
    inputs = [gn.input(f"x{i}", array.shape, "float64") for i, array in enumerate(given)]
    tensors = [torch.tensor(array, requires_grad=True) for array in given]
    nodes, results = as_list(ours(*inputs)), as_list(theirs(*tensors))
    weights = [random(*node.shape, seed=1) for node in nodes]
    slopes = gn.vjp(nodes, inputs, weights, allow_unused=True)
    values, found = gn.compile(inputs, (nodes, slopes), verify=True)(*given)
    for value, result in zip(values, results, strict=True):
        np.testing.assert_allclose(value, result.detach().numpy(), rtol=rtol, atol=rtol)
    torch.autograd.backward(results, list(map(torch.tensor, weights)))
    for slope, each in zip(found, tensors, strict=True):
        wanted = np.zeros(each.shape) if each.grad is None else each.grad.numpy()
        np.testing.assert_allclose(slope, wanted, rtol=rtol, atol=rtol)
