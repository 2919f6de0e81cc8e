"""Small graphs as formulas: ``v1 · cos(x)``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from graphnn.core.graph import topological_order
from graphnn.core.node import Node

__all__ = ["MOST_CHARACTERS", "formula"]

MOST_CHARACTERS = 48
"""Of a formula; in a longer one the middle is left out."""

_ATOM, _POWER, _SIGN, _PRODUCT, _SUM, _RELATION = range(6)
_INFIX = {
    "add": (" + ", _SUM),
    "subtract": (" − ", _SUM),
    "multiply": (" · ", _PRODUCT),
    "divide": (" / ", _PRODUCT),
    "power": ("^", _POWER),
    "matmul": (" @ ", _PRODUCT),
}
_RELATIONS = {
    "equal": "=",
    "not_equal": "≠",
    "less": "<",
    "less_equal": "≤",
    "greater": ">",
    "greater_equal": "≥",
}
_NO_CHANGE = frozenset(["broadcast_to", "cast", "reshape", "expand_dims", "squeeze"])
"""What moves values about, which a formula of single numbers does not show."""


class _Text(NamedTuple):
    text: str
    binding: int


def formula(node: Node, names: Mapping[Node, str], *, opened: bool = False) -> str:
    """A node as a formula of those that have names.

    Parameters
    ----------
    node : Node
    names : mapping of Node to str
    opened : bool, default False
        Whether the node itself is written out although it has a name.
    """
    known = {each: _Text(name, _ATOM) for each, name in names.items()}
    if opened:
        known.pop(node, None)
    for each in topological_order((node,), frozenset(known)):
        if each not in known:
            known[each] = _short(_written(each, [known[inner] for inner in each.inputs]))
    return known[node].text


def _short(text: _Text) -> _Text:
    if len(text.text) <= MOST_CHARACTERS:
        return text
    half = MOST_CHARACTERS // 2 - 1
    return _Text(f"{text.text[:half]} … {text.text[-half:]}", text.binding)


def _written(node: Node, inputs: Sequence[_Text]) -> _Text:
    name = node.op.label(node)
    if name == "constant":
        value = node.attrs["value"].array
        if value.size == 1:
            number = value.item()
            word = f"{number:.6g}" if isinstance(number, float) else str(number)
            return _Text(word, _SIGN if word.startswith("-") else _ATOM)
        return _Text("constant", _ATOM)
    if name in _NO_CHANGE:
        return inputs[0]
    if name in _INFIX:
        sign, binding = _INFIX[name]
        if sign == "^" and inputs[1].text in _RAISED:
            return _Text(f"{_inside(inputs[0], _ATOM)}{_RAISED[inputs[1].text]}", _POWER)
        left, right = _inside(inputs[0], binding), _inside(inputs[1], binding - (sign in _UNEQUAL))
        return _Text(f"{left}{sign}{right}", binding)
    if name == "where" and [each.text for each in inputs[1:]] == ["1", "0"]:
        return inputs[0]
    if name in _RELATIONS:
        return _Text(f"[{inputs[0].text} {_RELATIONS[name]} {inputs[1].text}]", _ATOM)
    if name == "negative":
        return _Text(f"−{_inside(inputs[0], _POWER)}", _SIGN)
    if name == "reciprocal":
        return _Text(f"1 / {_inside(inputs[0], _POWER)}", _PRODUCT)
    if name == "square":
        return _Text(f"{_inside(inputs[0], _ATOM)}²", _POWER)
    if name in ("matmul_nt", "matmul_tn"):
        left, right = (_inside(each, _POWER) for each in inputs)
        turned = f"{left} @ {right}ᵀ" if name == "matmul_nt" else f"{left}ᵀ @ {right}"
        return _Text(turned, _PRODUCT)
    if name == "transpose" and node.tensor.ndim == 2:
        return _Text(f"{_inside(inputs[0], _ATOM)}ᵀ", _POWER)
    if name == "project":
        return _Text(f"{_inside(inputs[0], _ATOM)}[{node.attrs['index']}]", _ATOM)
    if name == "dot_general":
        return _contraction(node, inputs)
    return _Text(f"{name}({', '.join(each.text for each in inputs)})", _ATOM)


def _contraction(node: Node, inputs: Sequence[_Text]) -> _Text:
    """A product of arrays as one of matrices, or as the sum over axes that it is."""
    contract, batch = node.attrs["contract"], node.attrs["batch"]
    first, second = (each.tensor.ndim for each in node.inputs)
    left, right = (_inside(each, _POWER) for each in inputs)
    if not contract[0] and not batch[0] and max(first, second) < 2:
        is_outer = first == second == 1  # of columns
        return _Text(f"{left} @ {right}ᵀ" if is_outer else f"{left} · {right}", _PRODUCT)
    ahead = tuple(range(len(contract[0])))
    if not batch[0] and contract == (ahead, ahead) and first == second == len(ahead) + 1:
        return _Text(f"{'Σ ' if len(ahead) > 1 else ''}{left}ᵀ @ {right}", _PRODUCT)
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    ours = [next(letters) for _ in range(first)]
    joined = dict(zip((*contract[1], *batch[1]), (*contract[0], *batch[0]), strict=True))
    others = [
        ours[joined[axis]] if axis in joined else next(letters, "z") for axis in range(second)
    ]
    summed = {ours[axis] for axis in contract[0]}
    kept = [ours[axis] for axis in batch[0]]
    kept += [each for each in (*ours, *others) if each not in summed and each not in kept]
    words = f"{''.join(ours)},{''.join(others)}→{''.join(kept)}"
    return _Text(f"einsum({words}; {inputs[0].text}, {inputs[1].text})", _ATOM)


_RAISED = {"2": "²", "3": "³", "4": "⁴"}

_UNEQUAL = (" − ", " / ", "^")
"""Signs whose right side needs parentheses where the left side does not."""


def _inside(text: _Text, binding: int) -> str:
    """A part of a formula, in parentheses where it binds less than what is around it."""
    return text.text if text.binding <= binding else f"({text.text})"
