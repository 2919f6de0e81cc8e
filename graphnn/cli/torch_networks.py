"""The networks of ``graphnn bench`` in PyTorch, with the same weights.

PyTorch is imported when one is made: graphnn does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from graphnn.cli.networks import SequenceNet
from graphnn.core.errors import ArgumentError
from graphnn.core.op import Array
from graphnn.io.torch_weights import to_torch
from graphnn.nn.activations import ReLU
from graphnn.nn.convolution import Conv2d
from graphnn.nn.dense import Dense
from graphnn.nn.module import Module
from graphnn.nn.pooling import Flatten, MaxPool
from graphnn.nn.recurrent_nets import LSTM
from graphnn.nn.sequential import Sequential

__all__ = ["torch_step"]


def torch_step(
    model: Module, x: Array, labels: Array, learning_rate: float, threads: int
) -> Callable[[], float]:
    """A step of gradient descent on the cross-entropy, which gives the loss before it."""
    torch = import_module("torch")
    torch.set_num_threads(threads)
    net, forward = _twin(torch, model)
    net.load_state_dict(to_torch(model, net.state_dict()))
    optimizer = torch.optim.SGD(net.parameters(), learning_rate, foreach=True)
    inputs, targets = torch.tensor(x), torch.tensor(labels)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(forward(inputs), targets)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def _twin(torch: Any, model: Module) -> tuple[Any, Callable[[Any], Any]]:
    """A module of PyTorch with parameters in the same order, and how it is applied."""
    if not isinstance(model, SequenceNet):
        net = _layer(torch, model)
        return net, net
    both = torch.nn.ModuleList([_layer(torch, model.net), _layer(torch, model.head)])
    return both, lambda x: both[1](both[0](x)[0][:, -1])


def _layer(torch: Any, layer: Any) -> Any:
    match layer:
        case Sequential():
            return torch.nn.Sequential(*(_layer(torch, each) for each in layer))
        case Dense():
            return torch.nn.Linear(*layer.weight.shape)
        case Conv2d():
            filters, channels, *window = layer.weight.shape
            return torch.nn.Conv2d(channels, filters, window, padding=layer.padding)
        case LSTM():
            return torch.nn.LSTM(*_sizes(layer), batch_first=True)
        case MaxPool():
            return torch.nn.MaxPool2d(2)
        case ReLU():
            return torch.nn.ReLU()
        case Flatten():
            return torch.nn.Flatten()
    raise ArgumentError(f"bench: PyTorch has no twin here of {layer!r}")


def _sizes(layer: LSTM) -> tuple[int, int]:
    """Features of what comes in and of the hidden state, of a net of one layer."""
    weights = [each for name, each in layer.named_parameters() if name.endswith("input_weight")]
    features, gates = weights[0].array.shape
    return features, gates // 4
