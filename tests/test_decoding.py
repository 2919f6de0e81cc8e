"""Decoding against plain Python over the same step, and against all sequences there are."""

import itertools

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError, FeedError, ShapeError

BATCH, HIDDEN, VOCABULARY = 3, 4, 4
START, END = 0, 3
RNG = np.random.default_rng(13)
STATE = RNG.normal(size=(BATCH, HIDDEN))
RECURRENT, INPUT, OUTPUT = (
    RNG.normal(size=shape)
    for shape in ((HIDDEN, HIDDEN), (VOCABULARY, HIDDEN), (HIDDEN, VOCABULARY))
)


def step(state, tokens):
    """A small net whose state has two parts, one of them a count."""
    h = gn.tanh(state["h"] @ RECURRENT + gn.embedding(tokens, INPUT))
    return gn.log_softmax(h @ OUTPUT), {"h": h, "steps": state["steps"] + 1}


def first_state(h=STATE):
    return {"h": h, "steps": gn.zeros((h.shape[0],), "int64")}


def step_of_one(h, token):
    """The same for one sample, in NumPy."""
    h = np.tanh(h @ RECURRENT + INPUT[token])
    scores = h @ OUTPUT
    return scores - np.log(np.sum(np.exp(scores))), h


def log_probability(h, tokens):
    """Of a whole sequence."""
    total, token = 0.0, START
    for following in tokens:
        chances, h = step_of_one(h, token)
        total, token = total + chances[following], following
    return total


def all_sequences(max_length):
    """Those that end, and those that did not in time."""
    for length in range(max_length + 1):
        for body in itertools.product(range(END), repeat=length):
            yield [*body, END] if length < max_length else list(body)


def padded(tokens, max_length):
    return [*tokens, *[END] * (max_length - len(tokens))]


def plain_greedy(h, max_length):
    tokens, token = [], START
    for _ in range(max_length):
        chances, h = step_of_one(h, token)
        token = int(np.argmax(chances))
        tokens.append(token)
        if token == END:
            break
    return tokens


def plain_beam_search(h, beam, max_length, length_penalty):
    """Lists of hypotheses: (score, tokens, state)."""

    def rank(hypothesis):
        return hypothesis[0] / len(hypothesis[1]) ** length_penalty

    kept = [(0.0, [], h)]
    for _ in range(max_length):
        found = []
        for score, tokens, h in kept:
            if tokens and tokens[-1] == END:
                found.append((score, tokens, h))
                continue
            chances, after = step_of_one(h, tokens[-1] if tokens else START)
            found += [(score + chances[t], [*tokens, t], after) for t in range(VOCABULARY)]
        kept = sorted(found, key=rank, reverse=True)[:beam]
    return [(rank(each), each[1]) for each in kept]


def decoded(found):
    # Each of them for one call; a program that is called with other arguments is native below.
    return gn.compile([], found, native="never")()


# -------------------------------------------------------------------------------------- greedy


def test_greedy_is_that_of_a_loop_in_python():
    found = decoded(gn.nn.greedy(step, first_state(), START, END, 7))
    for sample in range(BATCH):
        tokens = plain_greedy(STATE[sample], 7)
        assert found.tokens[sample].tolist() == padded(tokens, 7)
        assert found.lengths[sample] == len(tokens) - (tokens[-1] == END)
        wanted = log_probability(STATE[sample], tokens)
        np.testing.assert_allclose(found.scores[sample], wanted, rtol=1e-12)
    assert len(set(found.lengths.tolist())) > 1  # some end before others


def test_the_number_of_samples_may_be_a_named_dimension():
    h = gn.input("h", ("batch", HIDDEN), "float64")
    program = gn.compile(
        h,
        (
            gn.nn.greedy(step, first_state(h), START, END, 4).tokens,
            gn.nn.beam_search(step, first_state(h), START, END, 1, 4).tokens,
        ),
    )
    for size in (1, BATCH):
        by_greedy, by_beam = program(STATE[:size])
        wanted = [padded(plain_greedy(each, 4), 4) for each in STATE[:size]]
        assert by_greedy.tolist() == by_beam[:, 0].tolist() == wanted


def test_every_sample_may_start_with_a_token_of_its_own():
    starts = np.array([2, 0, 1])
    together = decoded(gn.nn.greedy(step, first_state(), starts, END, 5))
    for sample, start in enumerate(starts):
        state = first_state(STATE[sample : sample + 1])
        alone = decoded(gn.nn.greedy(step, state, int(start), END, 5))
        np.testing.assert_array_equal(together.tokens[sample], alone.tokens[0])


# --------------------------------------------------------------------------------- beam search


@pytest.mark.parametrize(("beam", "length_penalty"), [(1, 0.0), (2, 0.0), (3, 1.0), (5, 0.7)])
def test_beam_search_is_that_of_lists_in_python(beam, length_penalty):
    found = decoded(gn.nn.beam_search(step, first_state(), START, END, beam, 5, length_penalty))
    for sample in range(BATCH):
        wanted = plain_beam_search(STATE[sample], beam, 5, length_penalty)
        assert found.tokens[sample].tolist() == [padded(tokens, 5) for _, tokens in wanted]
        np.testing.assert_allclose(found.scores[sample], [score for score, _ in wanted], rtol=1e-12)
        ends = [len(tokens) - (tokens[-1] == END) for _, tokens in wanted]
        assert found.lengths[sample].tolist() == ends


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_beam_of_all_sequences_finds_the_best_and_ranks_them_all(length_penalty):
    steps, beam = 3, VOCABULARY**3
    found = decoded(gn.nn.beam_search(step, first_state(), START, END, beam, steps, length_penalty))
    for sample in range(BATCH):
        ranked = sorted(
            (-log_probability(STATE[sample], each) / len(each) ** length_penalty, each)
            for each in all_sequences(steps)
        )
        tokens = [padded(each, steps) for _, each in ranked]
        assert found.tokens[sample, : len(ranked)].tolist() == tokens
        np.testing.assert_allclose(
            found.scores[sample, : len(ranked)], [-score for score, _ in ranked], rtol=1e-12
        )
        assert np.all(found.scores[sample, len(ranked) :] == -np.inf)  # there are no more


def test_a_wider_beam_finds_what_greedy_misses():
    greedy = decoded(gn.nn.greedy(step, first_state(), START, END, 3))
    best = decoded(gn.nn.beam_search(step, first_state(), START, END, 64, 3))
    assert np.all(best.scores[:, 0] >= greedy.scores - 1e-12)
    assert np.any(best.scores[:, 0] > greedy.scores + 1e-3)


# -------------------------------------------------------------------------------------- sample


def draws(key, temperature=1.0, samples=2000):
    """First tokens of many samples with one state."""
    state = first_state(np.repeat(STATE[:1], samples, 0))
    return decoded(gn.nn.sample(step, state, START, END, 2, key=key, temperature=temperature))


def test_samples_have_the_probabilities_of_the_step():
    found = draws(gn.random.key(3))
    chances = np.exp([log_probability(STATE[0], [token]) for token in range(VOCABULARY)])
    counts = np.bincount(found.tokens[:, 0], minlength=VOCABULARY)
    statistic = np.sum((counts - 2000 * chances) ** 2 / (2000 * chances))
    assert statistic < 16.3  # chi squared with 3 degrees of freedom: one in a thousand
    for tokens, score in zip(found.tokens[:20].tolist(), found.scores, strict=False):
        kept = tokens[:1] if tokens[0] == END else tokens
        np.testing.assert_allclose(score, log_probability(STATE[0], kept), rtol=1e-12)
    assert np.all(found.tokens[found.tokens[:, 0] == END] == END)


def test_a_key_says_what_is_drawn():
    first, again, other = (draws(gn.random.key(each), samples=50).tokens for each in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_temperature_sharpens_and_flattens():
    temperature = gn.input("temperature", (), "float64")
    state = first_state(np.repeat(STATE, 200, 0))
    found = gn.nn.sample(step, state, START, END, 3, key=gn.random.key(0), temperature=temperature)
    program = gn.compile(temperature, found)
    wanted = [padded(plain_greedy(each, 3), 3) for each in np.repeat(STATE, 200, 0)]
    assert program(1e-4).tokens.tolist() == wanted
    # At a high temperature, all tokens are equally likely.
    counts = np.bincount(program(1e4).tokens[:, 0], minlength=VOCABULARY)
    assert np.all(np.abs(counts / counts.sum() - 1 / VOCABULARY) < 0.08)


# ----------------------------------------------------------------------- once all have ended


DECODERS = {
    "greedy": gn.nn.greedy,
    "sample": lambda *given: gn.nn.sample(*given, key=gn.random.key(5)),
    "beam": lambda step, state, start, end, max_length: gn.nn.beam_search(
        step, state, start, end, 3, max_length
    ),
}
each_decoder = pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)


@each_decoder
def test_steps_after_all_have_ended_are_not_computed(decode):
    """A step looks into a table of as many rows as steps are needed: one more fails."""

    def counting(rows):
        def step(count, tokens):
            looked_up = gn.gather(np.zeros((rows, VOCABULARY)), count)
            chances = np.array([[0.0, 3.0, 2.0, -40.0]]) + looked_up
            is_last = gn.equal(gn.expand_dims(count, 1), 2)
            certain = np.array([[-np.inf, -np.inf, -np.inf, 0.0]])
            return gn.where(is_last, certain, gn.log_softmax(chances)), count + 1

        return decode(step, gn.zeros((2,), "int64"), START, END, 20)

    assert np.all(decoded(counting(3)).lengths == 2)
    with pytest.raises(FeedError, match="out of range for 2 elements"):
        decoded(counting(2))


@each_decoder
def test_a_row_is_as_it_is_beside_one_that_goes_on(decode):
    """The last row never ends, so that no step is left out for the others."""

    def stepping(state, tokens):
        scores, after = step({"h": state["h"], "steps": state["steps"]}, tokens)
        never = np.array([0.0, 0.0, 0.0, -np.inf])
        going = gn.expand_dims(state["goes_on"], 1)
        scores = gn.where(going, scores + never, scores + np.array([0.0, 0.0, 0.0, 2.0]))
        return gn.log_softmax(scores), after | {"goes_on": state["goes_on"]}

    def found(rows):
        state = first_state(STATE[rows]) | {"goes_on": np.array([False, False, True])[rows]}
        return decoded(decode(stepping, state, START, END, 12))

    beside, alone = found(slice(3)), found(slice(2))
    assert beside.lengths[2].max() == 12
    assert alone.lengths.max() < 12
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one, other[:2])


@each_decoder
def test_what_all_steps_share_is_computed_once(decode):
    """A product of a memory, which no step changes, is before the loop and in no branch of it."""
    memory, weight = gn.input("memory", (5, HIDDEN), "float64"), gn.constant(RECURRENT)

    def step(h, tokens):
        shared = gn.sum(gn.tanh(memory @ weight), 0)
        h = gn.tanh(h * shared + gn.embedding(tokens, INPUT))
        return gn.log_softmax(h @ OUTPUT), h

    program = gn.compile(memory, decode(step, STATE, START, END, 6))
    loop = program.loops[0]
    products = [n for n, each in enumerate(program.instructions) if "matmul" in each.label]
    assert [loop.begin <= number < loop.end for number in products] == [False, True]


# ------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("error", "text", "change"),
    [
        (ArgumentError, "max_length must be a positive integer", {"max_length": 0}),
        (ArgumentError, "the end, 4, is none of 4 tokens", {"end": 4}),
        (ArgumentError, "the end, 1.5, is none of 4 tokens", {"end": 1.5}),
        (DTypeError, "the start is a token, an integer, not float32", {"start": 1.7}),
        (ShapeError, "need the same leading axis", {"state": (STATE, STATE[:2])}),
        (ShapeError, "their shapes are none", {"state": ()}),
        (ShapeError, "tokens of shape (3,) as the state", {"start": [0, 0]}),
        (ArgumentError, "must give a pair", {"step": lambda state, tokens: tokens}),
        (
            ShapeError,
            "must be floats of shape (3, vocabulary)",
            {"step": lambda state, tokens: (tokens, state)},
        ),
    ],
)
def test_mistakes_are_told(error, text, change):
    given = {"step": step, "state": first_state(), "start": START, "end": END, "max_length": 3}
    for decode in (gn.nn.greedy, lambda **given: gn.nn.beam_search(**given, beam=2)):
        with pytest.raises(error) as raised:
            decode(**(given | change))
        assert text in str(raised.value)


def test_mistakes_of_beam_and_temperature_are_told():
    with pytest.raises(ArgumentError, match="beam must be a positive integer"):
        gn.nn.beam_search(step, first_state(), START, END, 0, 3)
    with pytest.raises(ArgumentError, match="length_penalty is -1"):
        gn.nn.beam_search(step, first_state(), START, END, 2, 3, -1)
    with pytest.raises(ArgumentError, match="the temperature is 0"):
        gn.nn.sample(step, first_state(), START, END, 3, key=gn.random.key(0), temperature=0)
