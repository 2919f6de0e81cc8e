"""From a net that says what comes next to whole sequences: greedily, by chance, by beam search.

All take any step ``(state, tokens) -> (log_probabilities, state)``, a function of nodes: tokens
are int64 of shape (batch,), log-probabilities have shape (batch, vocabulary), and the state is
any nested structure of nodes whose leading axis is the batch. What is the same for all steps,
such as the memory of an encoder, a step reads from outside.

All are scans of conds: once every sequence has ended, the steps that are left compute nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphnn.compiler.batching import vmap
from graphnn.core.arguments import require_number, require_positive
from graphnn.core.dims import Size
from graphnn.core.dtypes import INT64, is_floating, is_integer
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.graph import substitute
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.core.structure import flatten, map_leaves, unflatten
from graphnn.ops.arithmetic import floor_divide, mod, where
from graphnn.ops.broadcasting import broadcast_to, sum, to_shape
from graphnn.ops.conditionals import cond
from graphnn.ops.creation import full, iota, zeros
from graphnn.ops.gathering import gather, take_along_axis
from graphnn.ops.logic import equal, logical_or, not_equal
from graphnn.ops.movement import expand_dims, moveaxis, squeeze, swapaxes
from graphnn.ops.operands import as_node, cast_to
from graphnn.ops.random import categorical, split
from graphnn.ops.reduction import all as all_of
from graphnn.ops.reduction import argmax
from graphnn.ops.scans import scan
from graphnn.ops.sorting import top_k

__all__ = ["Decoded", "beam_search", "greedy", "sample"]

DecodingStep = Callable[[Any, Node], tuple[Node, Any]]


class Decoded(NamedTuple):
    """Sequences that were decoded; those of a beam have an axis of hypotheses, the best first.

    Attributes
    ----------
    tokens : Node, of shape (batch, max_length) or (batch, beam, max_length)
        int64; from the end token on, all are the end token.
    lengths : Node, of shape (batch,) or (batch, beam)
        int64: tokens before the end token; ``max_length`` where none came.
    scores : Node, of shape (batch,) or (batch, beam)
        Log-probability of all tokens, that of the end among them; for `beam_search`, divided by
        the length penalty.
    """

    tokens: Node
    lengths: Node
    scores: Node


def greedy(step: DecodingStep, state: Any, start: Any, end: int, max_length: int) -> Decoded:
    """Take the likeliest token at every step.

    Parameters
    ----------
    step : callable
        ``step(state, tokens) -> (log_probabilities, state)``; see :mod:`graphnn.nn.decoding`.
    state : Node or nested structure of them
        Before the first step, with a leading axis for the batch.
    start : int or Node of shape (batch,)
        What the first step gets.
    end : int
        The token after which a sequence is over.
    max_length : int
        Most steps; none is computed once all sequences have ended.

    Returns
    -------
    Decoded

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If shapes do not fit, or the start or the end is no token.

    Examples
    --------
    A net that counts up, from 4 to the end at 7:

    >>> import graphnn as gn
    >>> def count(state, tokens):
    ...     return gn.log(gn.one_hot(tokens + 1, 8)), state
    >>> found = gn.nn.greedy(count, gn.zeros((1, 1)), start=4, end=7, max_length=5)
    >>> gn.evaluate(found.tokens), gn.evaluate(found.lengths)
    (array([[5, 6, 7, 7, 7]]), array([2]))
    """
    return _extend("greedy", step, state, start, end, max_length, None, _likeliest)


def sample(
    step: DecodingStep,
    state: Any,
    start: Any,
    end: int,
    max_length: int,
    *,
    key: Node,
    temperature: Any = 1.0,
) -> Decoded:
    """Draw every token with the probability that the step gives it.

    Parameters
    ----------
    step, state, start, end, max_length
        See :func:`greedy`.
    key : Node
        Of :mod:`graphnn.random`: the same key gives the same sequences.
    temperature : float or Node, default 1
        Log-probabilities are divided by it before a token is drawn: below 1, likely tokens
        become likelier; towards 0, it is `greedy`.

    Returns
    -------
    Decoded
        Scores are log-probabilities at temperature 1.

    Examples
    --------
    >>> import graphnn as gn
    >>> def coin(state, tokens):
    ...     return gn.log_softmax(gn.zeros((5, 3))), state
    >>> thrown = gn.nn.sample(coin, gn.zeros((5, 1)), 0, 2, 4, key=gn.random.key(0))
    >>> thrown.tokens.shape
    (5, 4)
    """
    is_known = not isinstance(temperature, Node)
    if is_known and require_number("sample", "the temperature", temperature) == 0:
        raise ArgumentError("sample: the temperature is 0", hint="gn.nn.greedy is the limit")
    require_positive("sample", max_length=max_length)

    def draw(log_probabilities: Node, key: Node) -> Node:
        return categorical(key, log_probabilities / temperature)

    return _extend("sample", step, state, start, end, max_length, split(key, max_length), draw)


def _likeliest(log_probabilities: Node, key: None) -> Node:
    return argmax(log_probabilities, -1)


def _extend(
    what: str,
    step: DecodingStep,
    state: Any,
    start: Any,
    end: int,
    max_length: int,
    keys: Node | None,
    choose: Callable[[Node, Any], Node],
) -> Decoded:
    """One token after the other, chosen from the log-probabilities and the key of a step."""
    state, tokens, asked = _prepared(what, step, state, start, end, max_length)

    def advance(carry: Any, key: Any) -> Any:
        state, tokens, ended, scores = carry
        log_probabilities, state = step(state, tokens)
        chosen = where(ended, end, choose(log_probabilities, key))
        gained = squeeze(take_along_axis(log_probabilities, expand_dims(chosen, -1)), -1)
        scores = where(ended, scores, scores + gained)
        return (state, chosen, logical_or(ended, equal(chosen, end)), scores), chosen

    first = (state, tokens, zeros(tokens.shape, bool), zeros(tokens.shape, asked.dtype))
    advance = _while_any_goes_on(advance, full(tokens.shape, end, INT64))
    (*_, scores), chosen = scan(advance, first, keys, length=max_length)
    chosen = swapaxes(chosen, 0, 1)
    return Decoded(chosen, _lengths(chosen, end), scores)


def beam_search(
    step: DecodingStep,
    state: Any,
    start: Any,
    end: int,
    beam: int,
    max_length: int,
    length_penalty: float = 0.0,
) -> Decoded:
    """Keep the best few hypotheses at every step.

    The step is called for all hypotheses at once, through :func:`graphnn.vmap`: what it reads
    from outside is shared among them. A hypothesis that ended keeps its place as long as no
    better one takes it.

    Parameters
    ----------
    step, state, start, end, max_length
        See :func:`greedy`.
    beam : int
        Number of hypotheses; 1 is `greedy`.
    length_penalty : float, default 0
        Hypotheses are compared by their log-probability divided by
        ``number_of_tokens ** length_penalty``, the end counted: 0 prefers short ones, 1 compares
        means. Source: Y. Wu et al., arXiv:1609.08144, in its simplest form.

    Returns
    -------
    Decoded
        With an axis for the beam, the best hypothesis first. Where there are fewer than ``beam``
        sequences, the scores of the last ones are -inf.

    Examples
    --------
    After token 2, token 0 is likelier than token 1, but what follows makes up for it:

    >>> import graphnn as gn
    >>> chances = gn.constant([[0.6, 0.0, 0.4], [0.0, 0.0, 1.0], [0.6, 0.4, 0.0]])
    >>> def step(state, tokens):
    ...     return gn.log(gn.gather(chances, tokens)), state
    >>> found = gn.nn.beam_search(step, gn.zeros((1, 1)), start=2, end=2, beam=2, max_length=2)
    >>> gn.evaluate(found.tokens)[0]
    array([[1, 2],
           [0, 0]])
    >>> gn.evaluate(gn.exp(found.scores))[0].round(2)
    array([0.4 , 0.36], dtype=float32)
    """
    require_positive("beam_search", beam=beam)
    require_number("beam_search", "length_penalty", length_penalty)
    state, tokens, asked = _prepared("beam_search", step, state, start, end, max_length)
    dtype, vocabulary = asked.dtype, asked.shape[1]
    (batch,), shape = tokens.shape, (beam, *tokens.shape)
    samples = iota(shape, 1)

    def spread(node: Node) -> Node:
        return broadcast_to(node, (beam, *node.shape))

    only_end = where(equal(iota((vocabulary,)), end), 0.0, full((), -np.inf, dtype))

    def advance(carry: Any, nothing: None) -> Any:
        state, tokens, ended, scores, counts = carry
        log_probabilities, state = vmap(step)(state, tokens)
        gained = where(expand_dims(ended, -1), only_end, log_probabilities)
        scores = expand_dims(scores, -1) + gained
        counts = where(ended, counts, counts + 1)
        ranks = scores / expand_dims(cast_to(counts, dtype) ** length_penalty, -1)
        _, best = top_k(to_shape(moveaxis(ranks, 0, 1), (batch, beam * vocabulary)), beam)
        best = swapaxes(best, 0, 1)
        parents, tokens = floor_divide(best, vocabulary), mod(best, vocabulary)
        state, ended, counts = map_leaves(
            lambda node: gather(node, parents, samples), (state, ended, counts)
        )
        ended = logical_or(ended, equal(tokens, end))
        scores = gather(scores, parents, samples, tokens)
        return (state, tokens, ended, scores, counts), (parents, tokens)

    # At first, all hypotheses are the same: one alone counts.
    scores = where(equal(iota(shape), 0), 0.0, full((), -np.inf, dtype))
    first = (*map_leaves(spread, (state, tokens)), zeros(shape, bool), scores, zeros(shape, INT64))
    advance = _while_any_goes_on(advance, (iota(shape), full(shape, end, INT64)))
    (*_, scores, counts), (parents, tokens) = scan(advance, first, length=max_length)

    def trace_back(places: Node, made: Any) -> Any:
        before, taken = (gather(each, places, samples) for each in made)
        return before, taken

    _, chosen = scan(trace_back, iota(shape), (parents, tokens), reverse=True)
    chosen = swapaxes(chosen, 0, 2)  # they were (steps, beam, batch)
    scores = swapaxes(scores / cast_to(counts, dtype) ** length_penalty, 0, 1)
    return Decoded(chosen, _lengths(chosen, end), scores)


def _while_any_goes_on(advance: Callable[[Any, Any], Any], resting: Any) -> Callable[..., Any]:
    """A step that computes nothing once every sequence has ended.

    Parameters
    ----------
    advance : callable
        A step whose carry is (state, tokens, whether sequences have ended, ...). It leaves
        whatever comes after the state as it is where all have ended.
    resting : Node or nested structure of Node
        What it gives from then on.
    """

    def step(carry: Any, element: Any) -> Any:
        made, given = advance(carry, element), flatten((carry, element))

        def go_on(*leaves: Node) -> Any:
            # What reads none of them, such as a product of a memory, stays outside of the branch,
            # and so of the loop: all steps share it.
            known = dict(zip(given, leaves, strict=True))
            return unflatten(made, substitute(flatten(made), known))

        return cond(all_of(carry[2]), lambda *_: (carry, resting), go_on, *given)

    return step


def _lengths(tokens: Node, end: int) -> Node:
    """Tokens before the end."""
    return sum(cast_to(not_equal(tokens, end), INT64), -1)


def _prepared(
    what: str, step: DecodingStep, state: Any, start: Any, end: int, max_length: int
) -> tuple[Any, Node, Node]:
    """The state and the first tokens as nodes, and the log-probabilities of the first step."""
    require_positive(what, max_length=max_length)
    state = map_leaves(as_node, state)
    batch = _batch(what, state)
    tokens = as_node(start)
    if tokens.ndim == 0:
        tokens = broadcast_to(tokens, (batch,))
    elif tokens.shape != (batch,):
        raise ShapeError(
            f"{what}: the start must be one token, or tokens of shape {shape_text((batch,))} as "
            f"the state has samples, not {shape_text(tokens.shape)}"
        )
    if not is_integer(tokens.dtype):
        raise DTypeError(f"{what}: the start is a token, an integer, not {tokens.dtype.name}")
    tokens = cast_to(tokens, INT64)
    # Asked once beforehand: what nobody reads is not computed.
    given: Any = step(state, tokens)
    if not isinstance(given, tuple) or len(given) != 2:
        raise ArgumentError(
            f"{what}: a step must give a pair, not {given!r}",
            hint="return log_probabilities, state",
        )
    found = as_node(given[0])
    if found.ndim != 2 or found.shape[0] != batch or not is_floating(found.dtype):
        raise ShapeError(
            f"{what}: log-probabilities must be floats of shape ({batch}, vocabulary), "
            f"not {found.spec}"
        )
    vocabulary = found.shape[1]
    last: Any = end
    is_token = isinstance(last, int | np.integer) and isinstance(vocabulary, int)
    if not is_token or not 0 <= last < vocabulary:
        raise ArgumentError(f"{what}: the end, {end}, is none of {vocabulary} tokens")
    return state, tokens, found


def _batch(what: str, state: Any) -> Size:
    """The size of the leading axis, which all parts of a state share."""
    nodes = flatten(state)
    sizes = {node.shape[:1] for node in nodes}
    if len(sizes) != 1 or sizes == {()}:
        shapes = ", ".join(shape_text(node.shape) for node in nodes)
        raise ShapeError(
            f"{what}: all parts of the state need the same leading axis, the batch; "
            f"their shapes are {shapes or 'none'}",
            hint="what is the same for all samples or steps is read from outside",
        )
    size: Size = nodes[0].shape[0]
    return size
