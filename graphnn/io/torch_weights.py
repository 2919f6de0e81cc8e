"""Weights from PyTorch and back: which of ours is which of theirs, and what must be turned round.

A layer is paired with the entries of a PyTorch state that share a prefix, by name or in order. The
table `LAYERS` says for every layer what these entries are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import EllipsisType
from typing import Any

import numpy as np

from graphnn.core.dtypes import BFLOAT16
from graphnn.core.errors import CheckpointError
from graphnn.core.op import Array
from graphnn.core.spec import shape_text
from graphnn.core.state import Parameter
from graphnn.nn.cells import WeightedCell
from graphnn.nn.convolution import Conv, ConvTranspose
from graphnn.nn.dense import Dense
from graphnn.nn.embedding import Embedding
from graphnn.nn.gated_cells import GRUCell, LSTMCell
from graphnn.nn.module import Module
from graphnn.nn.multi_head_attention import MultiHeadAttention
from graphnn.nn.normalization import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from graphnn.nn.recurrent import Recurrent
from graphnn.nn.recurrent_nets import GRU, LSTM, RecurrentNet, SimpleRNN
from graphnn.nn.sequence_wrappers import Bidirectional
from graphnn.nn.simple_cells import SimpleRNNCell

__all__ = ["from_torch", "to_torch"]

NOT_OURS = "num_batches_tracked"
"""PyTorch counts batches that it normalised; nothing depends on the number."""

PACKED = ("in_proj_weight", "in_proj_bias", "q_proj_weight")
"""Names of a PyTorch attention's own entries; beside them it holds a layer, ``out_proj``."""


@dataclass(frozen=True)
class Link:
    """A parameter of ours and what it is made of there.

    Attributes
    ----------
    ours : Parameter
    theirs : tuple of str
        Names behind the layer's prefix: their sum is the parameter. Written back, all but the
        first become 0.
    turned : callable
        From their array to ours; it is its own inverse.
    rows : slice or Ellipsis
        Which rows of their array are meant, where one holds several of ours.
    """

    ours: Parameter
    theirs: tuple[str, ...]
    turned: Callable[[Array], Array] = np.asarray
    rows: slice | EllipsisType = ...


def _plain(layer: Any) -> Iterator[Link]:
    """Weight and bias that are the same on both sides."""
    for name in ("weight", "bias"):
        if getattr(layer, name, None) is not None:
            yield Link(getattr(layer, name), (name,))


def _dense(layer: Dense) -> Iterator[Link]:
    yield Link(layer.weight, ("weight",), np.transpose)
    if layer.bias is not None:
        yield Link(layer.bias, ("bias",))


def _conv(layer: Conv) -> Iterator[Link]:
    if not layer.flip:
        yield from _plain(layer)
        return
    axes = tuple(range(2, layer.weight.ndim))
    yield Link(layer.weight, ("weight",), partial(np.flip, axis=axes))
    if layer.bias is not None:
        yield Link(layer.bias, ("bias",))


def _batch_norm(layer: BatchNorm) -> Iterator[Link]:
    yield from _plain(layer)
    yield Link(layer.running_mean, ("running_mean",))
    yield Link(layer.running_variance, ("running_var",))


def _recurrent(net: RecurrentNet) -> Iterator[Link]:
    for number, layer in enumerate(net.layers):
        ways: list[tuple[str, Any]] = [("", layer)]
        if isinstance(layer, Bidirectional):
            ways = [("", layer.forward_layer), ("_reverse", layer.backward_layer)]
        for suffix, each in ways:
            if isinstance(each, Recurrent) and _is_theirs(each.cell):
                yield from _cell(each.cell, f"l{number}{suffix}")


def _is_theirs(cell: Any) -> bool:
    """Whether PyTorch computes the same; parameters of others stay without a counterpart."""
    if isinstance(cell, GRUCell):
        return (cell.form, cell.update) == ("separate", "keep")
    return isinstance(cell, LSTMCell | SimpleRNNCell)


def _cell(cell: WeightedCell, suffix: str) -> Iterator[Link]:
    """Gates lie in the same order: i f g o, and r z n. Theirs are rows, with two biases."""
    yield Link(cell.input_weight, (f"weight_ih_{suffix}",), np.transpose)
    yield Link(cell.recurrent_weight, (f"weight_hh_{suffix}",), np.transpose)
    biases = (f"bias_ih_{suffix}", f"bias_hh_{suffix}")
    if isinstance(cell, GRUCell):
        # The candidate's second bias is within the reset gate: the two cannot be added.
        for own, theirs in zip((cell.bias, cell.recurrent_bias), biases, strict=True):
            if own is not None:
                yield Link(own, (theirs,))
    elif cell.bias is not None:
        yield Link(cell.bias, biases)
    if isinstance(cell, LSTMCell) and cell.projection_weight is not None:
        yield Link(cell.projection_weight, (f"weight_hr_{suffix}",), np.transpose)


def _attention(layer: MultiHeadAttention) -> Iterator[Link]:
    """Projections of queries, keys and values are one array there if their inputs are as wide."""
    parts = {"q": layer.query, "k": layer.key, "v": layer.value}
    is_packed = all(part.weight.shape[0] == layer.features for part in parts.values())
    for number, (word, part) in enumerate(parts.items()):
        rows = slice(number * layer.features, (number + 1) * layer.features)
        if is_packed:
            yield Link(part.weight, ("in_proj_weight",), np.transpose, rows)
        else:
            yield Link(part.weight, (f"{word}_proj_weight",), np.transpose)
        if part.bias is not None:
            yield Link(part.bias, ("in_proj_bias",), rows=rows)
    yield Link(layer.output.weight, ("out_proj.weight",), np.transpose)
    if layer.output.bias is not None:
        yield Link(layer.output.bias, ("out_proj.bias",))


LAYERS: dict[type[Module], Callable[[Any], Iterator[Link]]] = {
    Dense: _dense,
    Conv: _conv,
    ConvTranspose: _plain,
    Embedding: _plain,
    BatchNorm: _batch_norm,
    LayerNorm: _plain,
    GroupNorm: _plain,
    InstanceNorm: _plain,
    RMSNorm: _plain,
    LSTM: _recurrent,
    GRU: _recurrent,
    SimpleRNN: _recurrent,
    MultiHeadAttention: _attention,
}
"""What the entries of PyTorch's layer are, for all that have a counterpart there."""


def from_torch(model: Module, state: Mapping[str, Any]) -> None:
    """Give a model the weights of a PyTorch model of the same structure.

    Layers are paired by their names, ``layers.`` of a `Sequential` left out; if no name is on both
    sides, in the order in which they are defined. Weights are transposed, the two biases of
    recurrent layers added, as each layer needs it. Dense, convolutional, normalising,
    embedding and (stacked, bidirectional) SimpleRNN, LSTM and GRU layers, attention and the layers
    of transformers have a counterpart.

    Parameters
    ----------
    model : Module
    state : mapping of str to tensor or array
        The other model's ``state_dict()``, in the memory of the host.

    Raises
    ------
    CheckpointError
        Lists all that has no counterpart or another shape; then nothing is changed.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> layer = gn.nn.Dense(3, 2)
    >>> gn.io.from_torch(layer, {"weight": np.ones((2, 3)), "bias": np.zeros(2)})
    >>> layer.weight.value.shape
    (3, 2)
    """
    arrays = {name: _array(value) for name, value in state.items()}
    values: dict[str, Array] = {}
    for path, prefix, link in _paired(model, arrays):
        first, *others = (arrays[prefix + name][link.rows] for name in link.theirs)
        values[path] = link.turned(sum(others, first))
    model.load_state_dict(values)


def to_torch(model: Module, like: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of a model as the state of a PyTorch model of the same structure.

    Parameters
    ----------
    model : Module
    like : mapping of str to tensor or array
        The other model's ``state_dict()``, which tells names, dtypes and devices.

    Returns
    -------
    dict of str to tensor or array
        For the other model's ``load_state_dict``. Of two biases the second one is 0 where ours is
        their sum.

    Raises
    ------
    CheckpointError
        See :func:`from_torch`.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> layer = gn.nn.Dense(3, 2)
    >>> like = {"weight": np.ones((2, 3), "float32"), "bias": np.zeros(2, "float32")}
    >>> gn.io.to_torch(layer, like)["weight"].shape
    (2, 3)
    """
    arrays = {name: _array(value) for name, value in like.items()}
    values: dict[str, Array] = {}
    for _, prefix, link in _paired(model, arrays):
        own = link.turned(link.ours.value)
        for number, name in enumerate(prefix + name for name in link.theirs):
            value = values.setdefault(name, np.zeros(arrays[name].shape, own.dtype))
            if number == 0:
                value[link.rows] = own
    return {**like, **{name: _as_theirs(value, like[name]) for name, value in values.items()}}


def _array(value: Any) -> Array:
    """A tensor as an array; also where it is trained, on a device, or in bfloat16."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    host = value.detach().cpu()
    if str(host.dtype) == "torch.bfloat16":
        return np.asarray(host.float().numpy()).astype(BFLOAT16)
    return np.asarray(host.numpy())


def _as_theirs(value: Array, like: Any) -> Any:
    """An array as what ``like`` is: a tensor of its dtype and device, or an array."""
    if not hasattr(like, "new_tensor"):
        return value.astype(np.asarray(like).dtype)
    return like.new_tensor(value.astype(np.float32) if value.dtype == BFLOAT16 else value)


# --------------------------------------------------------------------------------- what is which


def _paired(model: Module, theirs: Mapping[str, Array]) -> list[tuple[str, str, Link]]:
    """Every parameter's path, the prefix of its entries there, and its link.

    Raises
    ------
    CheckpointError
        Lists all that has no counterpart, and all of another shape.
    """
    paths = _paths(model)
    prefixes = _prefixes(_layers(model), theirs)
    without = set(paths.values())
    left = {name for name in theirs if name.rpartition(".")[2] != NOT_OURS}
    found: list[tuple[str, str, Link]] = []
    lines: list[str] = []
    for layer, prefix in prefixes:
        for link in _links(layer):
            names = [prefix + name for name in link.theirs]
            path = paths[link.ours]
            without.discard(path)
            missing = [name for name in names if name not in theirs]
            lines += [f"{path}: there is no {name}" for name in missing]
            left -= set(names)
            if missing:
                continue
            given, own = link.turned(theirs[names[0]][link.rows]).shape, link.ours.array.shape
            if given != own:
                of = shape_text(theirs[names[0]].shape)
                lines.append(f"{path}: {names[0]} {of} does not fit {shape_text(own)}")
            found.append((path, prefix, link))
    lines += [f"{path}: nothing there is known to be its counterpart" for path in sorted(without)]
    lines += [f"unexpected: {name}" for name in theirs if name in left]
    if lines:
        raise CheckpointError(
            "\n  ".join([f"the PyTorch state does not fit this {type(model).__name__}", *lines]),
            where="",
        )
    return found


def _paths(model: Module) -> dict[Parameter, str]:
    """All that is saved of a model, with its path."""
    saved = model.state_dict().keys()
    listed = [*model.named_parameters(), *model.named_buffers()]
    return {each: path for path, each in listed if path in saved}


def _layers(model: Module) -> dict[str, Module]:
    """The layers that have counterparts, by path; not what they are made of."""
    found: dict[str, Module] = {}
    inside: set[int] = set()
    for path, module in model.named_modules():
        if id(module) not in inside and any(base in LAYERS for base in type(module).__mro__):
            found[path] = module
            inside |= {id(each) for _, each in module.named_modules()}
    return found


def _links(layer: Module) -> Iterator[Link]:
    """What a layer's parameters are in PyTorch."""
    return next(LAYERS[base] for base in type(layer).__mro__ if base in LAYERS)(layer)


def _prefixes(
    layers: Mapping[str, Module], theirs: Mapping[str, Array]
) -> list[tuple[Module, str]]:
    """Every layer that has parameters, with what the names of its entries begin with."""
    ours = {_bare(path): layer for path, layer in layers.items() if any(_links(layer))}
    there = {_bare(prefix): prefix for prefix in (_prefix(name, theirs) for name in theirs)}
    names = dict(zip(ours, ours, strict=True))
    if not ours.keys() & there.keys() and len(ours) == len(there):
        names = dict(zip(ours, there, strict=True))
    return [
        (layer, f"{prefix}." if (prefix := there.get(names[path], path)) else "")
        for path, layer in ours.items()
    ]


def _prefix(name: str, theirs: Mapping[str, Array]) -> str:
    """What the names of a layer's entries begin with; a layer in an attention belongs to that."""
    path, _, last = name.rpartition(".")[0].rpartition(".")
    around = f"{path}." if path else ""
    if last == "out_proj" and any(around + entry in theirs for entry in PACKED):
        return path
    return around + last


def _bare(path: str) -> str:
    """A path without what a `Sequential` calls its list of layers."""
    return ".".join(part for part in path.split(".") if part != "layers")
