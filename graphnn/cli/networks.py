"""The networks and optimizers that the command line knows by name.

A network is an entry of `NETWORKS`: what it takes, its options with their defaults, and the
function that builds it. Used by ``graphnn train``, ``predict`` and ``bench``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from graphnn.core.arguments import require_known
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.nn.activations import GELU, ReLU, Sigmoid, SiLU, Tanh
from graphnn.nn.convolution import Conv2d
from graphnn.nn.dense import Dense
from graphnn.nn.dropout import Dropout
from graphnn.nn.module import Module
from graphnn.nn.pooling import Flatten, MaxPool
from graphnn.nn.recurrent_nets import GRU, LSTM, RecurrentNet, SimpleRNN
from graphnn.nn.sequential import Sequential
from graphnn.optim.adam import Adam, AdamW
from graphnn.optim.adam_variants import Adamax, NAdam
from graphnn.optim.adaptive import Adadelta, Adagrad, RMSprop
from graphnn.optim.optimizer import Optimizer
from graphnn.optim.schedules import Cosine, OneCycle, Schedule
from graphnn.optim.sgd import SGD
from graphnn.optim.sign import Lion

__all__ = [
    "NETWORKS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Network",
    "Takes",
    "optimizer_named",
    "options_from",
]

Takes = Literal["rows", "pictures", "sequences"]
"""Samples as numbers in a row; as channels, height and width; as time steps of channels."""

ACTIVATIONS: dict[str, Callable[[], Module]] = {
    "gelu": GELU,
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "silu": SiLU,
    "tanh": Tanh,
}

LEAST_SIDE = 12
"""Pixels that LeNet needs in height and width: of these its last maps have one."""


@dataclass(frozen=True)
class Network:
    """A network by name.

    Attributes
    ----------
    about : str
        For ``graphnn train --help``.
    takes : {"rows", "pictures", "sequences"}
    options : mapping of str to value
        Defaults; what is given has the type of its default.
    build : callable
        From the shape of one sample, the number of outputs and all options.
    """

    about: str
    takes: Takes
    options: Mapping[str, Any]
    build: Callable[[tuple[int, ...], int, Mapping[str, Any]], Module]


def _dense_net(shape: tuple[int, ...], outputs: int, options: Mapping[str, Any]) -> Module:
    features = math.prod(shape)
    layers: list[Module] = []
    for hidden in options.get("hidden", ()):
        layers += [Dense(features, hidden), _activation(options)]
        layers += _dropout(options)
        features = hidden
    return Sequential(*layers, Dense(features, outputs))


def _lenet(shape: tuple[int, ...], outputs: int, options: Mapping[str, Any]) -> Module:
    """After Y. LeCun et al., Gradient-based learning applied to document recognition (1998)."""
    channels, *sides = shape
    if min(sides) < LEAST_SIDE:
        raise ArgumentError(
            f"lenet: pictures of {sides[0]} x {sides[1]} pixels are too small for it",
            hint=f"{LEAST_SIDE} x {LEAST_SIDE} at least; mlp takes pictures of any size",
            where="",
        )
    height, width = ((side // 2 - 4) // 2 for side in sides)
    return Sequential(
        Conv2d(channels, 6, 5, padding="same"),
        _activation(options),
        MaxPool(2),
        Conv2d(6, 16, 5),
        _activation(options),
        MaxPool(2),
        Flatten(),
        *_dropout(options),
        Dense(16 * height * width, 120),
        _activation(options),
        *_dropout(options),
        Dense(120, 84),
        _activation(options),
        Dense(84, outputs),
    )


class SequenceNet(Module):
    """A recurrent net, and dense outputs from its state after the last step."""

    def __init__(self, net: RecurrentNet, head: Module) -> None:
        self.net = net
        self.head = head

    def forward(self, x: Any, lengths: Any = None) -> Node:
        """Outputs of shape (batch, outputs) for sequences of shape (batch, time, channels)."""
        outputs: Node = self.head(self.net(x, lengths=lengths))
        return outputs


def _recurrent(
    kind: type[RecurrentNet], shape: tuple[int, ...], outputs: int, options: Mapping[str, Any]
) -> Module:
    both = options["bidirectional"]
    hidden = options["hidden"]
    net = kind(shape[1], hidden, num_layers=options["layers"], bidirectional=both, batch_first=True)
    head = Dense(2 * hidden if both else hidden, outputs)
    return SequenceNet(net, Sequential(*_dropout(options), head))


def _activation(options: Mapping[str, Any]) -> Module:
    require_known(None, "activation", options["activation"], ACTIVATIONS)
    return ACTIVATIONS[options["activation"]]()


def _dropout(options: Mapping[str, Any]) -> list[Module]:
    return [Dropout(options["dropout"])] if options["dropout"] else []


_OF_RECURRENT: Mapping[str, Any] = {
    "hidden": 64,
    "layers": 1,
    "bidirectional": False,
    "dropout": 0.0,
}

NETWORKS: Mapping[str, Network] = {
    "linear": Network(
        "no hidden layer: linear regression, or logistic regression", "rows", {}, _dense_net
    ),
    "mlp": Network(
        "multilayer perceptron: dense layers one after another",
        "rows",
        {"hidden": (64,), "activation": "relu", "dropout": 0.0},
        _dense_net,
    ),
    "lenet": Network(
        "convolutions and pooling, then dense layers: for pictures",
        "pictures",
        {"activation": "relu", "dropout": 0.0},
        _lenet,
    ),
    "rnn": Network(
        "simple recurrent net: for sequences",
        "sequences",
        _OF_RECURRENT,
        partial(_recurrent, SimpleRNN),
    ),
    "gru": Network(
        "gated recurrent units: for sequences", "sequences", _OF_RECURRENT, partial(_recurrent, GRU)
    ),
    "lstm": Network(
        "long short-term memory: for sequences",
        "sequences",
        _OF_RECURRENT,
        partial(_recurrent, LSTM),
    ),
}

OPTIMIZERS: Mapping[str, tuple[Callable[[Schedule | float], Optimizer], float]] = {
    "adadelta": (Adadelta, 1.0),
    "adagrad": (Adagrad, 0.01),
    "adam": (Adam, 1e-3),
    "adamax": (Adamax, 2e-3),
    "adamw": (AdamW, 1e-3),
    "lion": (Lion, 1e-4),
    "momentum": (partial(SGD, momentum=0.9), 0.01),
    "nadam": (NAdam, 1e-3),
    "rmsprop": (RMSprop, 1e-3),
    "sgd": (SGD, 0.1),
}
"""Optimizers, and the learning rate that each has when none is given."""


SCHEDULES: Mapping[str, Callable[[float, int], Schedule | float]] = {
    "constant": lambda rate, steps: rate,
    "cosine": Cosine,
    "onecycle": OneCycle,
}
"""Learning rates over a number of steps, by the highest one."""


def optimizer_named(name: str, learning_rate: float, schedule: str, steps: int) -> Optimizer:
    """An optimizer of `OPTIMIZERS` with a learning rate that goes by a schedule."""
    return OPTIMIZERS[name][0](SCHEDULES[schedule](learning_rate, steps))


def options_from(name: str, given: Iterable[str]) -> dict[str, Any]:
    """All options of a network, from texts such as ``"hidden=128,64"``.

    Raises
    ------
    ArgumentError
        For what is no option of it, or no value of its type.
    """
    options = dict(NETWORKS[name].options)
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise ArgumentError(
                f"--option {text!r} gives no value",
                hint=f"write --option {key}=VALUE",
                where="",
            )
        if key not in options:
            raise ArgumentError(f"{name} has no option {key!r}", hint=_told(name), where="")
        try:
            options[key] = _value_like(options[key], value)
        except ValueError:
            raise ArgumentError(
                f"{name}: {key} cannot be {value!r}", hint=_told(name), where=""
            ) from None
    return options


def _told(name: str) -> str:
    known = NETWORKS[name].options
    if not known:
        return f"{name} has no options"
    return f"{name} has " + ", ".join(option_text(*each) for each in known.items())


def option_text(key: str, value: Any) -> str:
    """An option as it is given on the command line."""
    if isinstance(value, tuple | list):
        value = ",".join(map(str, value))
    return f"{key}={str(value).lower()}"


def _value_like(default: Any, text: str) -> Any:
    """A text as a value of the type of a default."""
    if isinstance(default, bool):
        return ("false", "true").index(text.lower()) == 1
    if isinstance(default, tuple):
        return tuple(map(_positive, text.split(",")))
    if isinstance(default, int):
        return _positive(text)
    if isinstance(default, float):
        return float(text)
    return text


def _positive(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count
