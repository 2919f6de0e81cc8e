"""The networks of the examples on MNIST, trained by PyTorch: `feedforward_examples.py` runs it.

They begin with the weights that graphnn's networks begin with, and see the same batches; what
dropout drops is PyTorch's to draw.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

import graphnn as gn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

import lenet
import textbook_digits

Part = tuple[np.ndarray, ...]
Cost = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def twin(layer: gn.nn.Module) -> nn.Module:
    """The same layer in PyTorch, with the same weights."""
    match layer:
        case gn.nn.Sequential():
            return nn.Sequential(*map(twin, layer))
        case gn.nn.Dense():
            return _with_values(nn.Linear(*layer.weight.shape), layer.weight.value.T, layer.bias)
        case gn.nn.Conv2d():
            filters, channels, *window = layer.weight.shape
            made = nn.Conv2d(channels, filters, window, padding=layer.padding)
            return _with_values(made, layer.weight.value, layer.bias)
        case gn.nn.Dropout():
            return nn.Dropout(layer.rate)
    return {gn.nn.Sigmoid: nn.Sigmoid, gn.nn.ReLU: nn.ReLU, gn.nn.Flatten: nn.Flatten}[
        type(layer)
    ]()


def _with_values(layer: nn.Linear | nn.Conv2d, weight: np.ndarray, bias: gn.Parameter) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias.value))
    return layer


def lenet_twin(model: lenet.LeNet) -> nn.Module:
    pooled = [nn.ReLU(), nn.MaxPool2d(2)]
    pixels = nn.Unflatten(1, (1, 28, 28))
    convolutions = [twin(model.first), *pooled, twin(model.second), *pooled]
    return nn.Sequential(pixels, *convolutions, twin(model.head))


def quadratic_cost(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return ((outputs - nn.functional.one_hot(labels, 10)) ** 2).sum() / (2 * len(labels))


def accuracy_after(
    net: nn.Module,
    cost: Cost,
    optimizer: torch.optim.Optimizer,
    rates: Sequence[float],
    batches: gn.data.Batches,
    tests: Part,
) -> float:
    """Train with a learning rate for every step; the accuracy on the test part."""
    net.train()
    remaining = iter(rates)
    for _ in range(len(rates) // len(batches)):
        for pixels, labels in batches:
            optimizer.param_groups[0]["lr"] = next(remaining)
            optimizer.zero_grad()
            cost(net(torch.from_numpy(pixels)), torch.from_numpy(labels)).backward()
            optimizer.step()
    with torch.no_grad():
        guesses = net.eval()(torch.from_numpy(tests[0])).argmax(dim=1).numpy()
    return float(np.mean(guesses == tests[1]))


def train_textbook(seed: int) -> dict[str, float]:
    """The networks of `textbook_digits.py`."""
    costs = (quadratic_cost, nn.functional.cross_entropy)
    part, tests = textbook_digits.digits(seed)
    found = {}
    for (name, recipe), cost in zip(textbook_digits.RECIPES.items(), costs, strict=True):
        gn.seed(seed)
        net = twin(recipe.net())
        batches = gn.data.Batches(*part, batch_size=textbook_digits.BATCH, shuffle=True, seed=seed)
        rates = [recipe.rate] * (textbook_digits.EPOCHS * len(batches))
        optimizer = torch.optim.SGD(net.parameters(), recipe.rate)
        reached = accuracy_after(net, cost, optimizer, rates, batches, tests)
        found[f"accuracy, {name}, PyTorch"] = reached
    return found


def train_lenet(seed: int) -> dict[str, float]:
    """The network of `lenet.py`."""
    part, tests = gn.data.split(*gn.data.load_mnist_5k(), test=0.2, seed=seed)
    gn.seed(seed)
    net = lenet_twin(lenet.LeNet())
    batches = gn.data.Batches(*part, batch_size=lenet.BATCH, shuffle=True, seed=seed)
    steps = lenet.EPOCHS * len(batches)
    rates = gn.optim.Cosine(lenet.RATE, steps).values(steps).tolist()
    optimizer = torch.optim.Adam(net.parameters())
    cost = nn.functional.cross_entropy
    reached = accuracy_after(net, cost, optimizer, rates, batches, tests)
    return {"accuracy, LeNet, PyTorch": reached}


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("example", choices=("textbook_digits", "lenet"))
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.manual_seed(chosen.seed)
    torch.set_num_threads(1)  # steps this small are not worth dividing
    train = train_lenet if chosen.example == "lenet" else train_textbook
    found = train(chosen.seed)
    for name, value in found.items():
        print(f"  {name}: {value:.1%}")
    return found


if __name__ == "__main__":
    main()
