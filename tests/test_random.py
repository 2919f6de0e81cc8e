"""Random numbers: published vectors, distributions, keys, and the default stream.

Seeds are fixed, so every statistical test gives the same verdict each time.
"""

import numpy as np
import pytest
from scipy import stats

import graphnn as gn
from graphnn.core.graph import topological_order
from graphnn.ops.philox import RANDOM_BITS, philox, random_bits, reference_bits
from graphnn.ops.random import RNG_COUNTER, RNG_SEED

MANY = 200_000
UNLIKELY = 1e-4
"""A verdict this improbable would be a failure."""


def run(node, *feeds, inputs=()):
    return gn.compile(inputs=list(inputs), outputs=node, backend="reference")(*feeds)


def bits_of(key, count, dtype="int64"):
    return run(random_bits(key, (count,), np.dtype(dtype)))


@pytest.fixture
def fresh_stream():
    """The default stream from its start, and again afterwards."""
    gn.seed(0)
    yield
    gn.seed(0)


# --------------------------------------------------------------------------------------- Philox

# https://github.com/DEShawResearch/random123, tests/kat_vectors: counter, key, result.
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words(text):
    return [np.array([int(word, 16)], dtype=np.uint64) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(counter, key, expected):
    found = philox(words(counter), words(key))
    assert [f"{int(word[0]):08x}" for word in found] == expected.split()


def test_bits_are_words_of_the_counter_made_of_position_and_stream():
    key, stream = 0x299F31D0_A4093822, 0x03707344_13198A2E
    given = np.array([key, stream])
    found = bits_of(gn.constant(given), 3)
    for position in range(3):
        counter = [position, 0, stream & 0xFFFFFFFF, stream >> 32]
        high, low, _, _ = philox(
            [np.array([word], np.uint64) for word in counter], words("a4093822 299f31d0")
        )
        assert int(found[position]) % 2**64 == int(high[0]) << 32 | int(low[0])


def test_the_zero_key_begins_with_the_published_words():
    assert int(bits_of(gn.constant([0, 0]), 1)[0]) % 2**64 == 0x6627E8D5_E169C58D
    assert int(bits_of(gn.constant([0, 0]), 1, "int32")[0]) % 2**32 == 0x6627E8D5


def test_bits_agree_with_the_reference_in_plain_python():
    key = np.array([-12345678901234567, 2**63 - 1])
    found = bits_of(gn.constant(key), 50)
    assert [int(each) % 2**64 for each in found] == list(reference_bits(key, (50,)))


def test_more_numbers_from_a_key_begin_with_the_same_numbers():
    key = gn.random.key(3)
    assert np.array_equal(bits_of(key, 100)[:10], bits_of(key, 10))


def test_every_bit_is_set_half_of_the_time():
    found = bits_of(gn.random.key(1), MANY).view(np.uint8).reshape(MANY, 8)
    ones = np.unpackbits(found, axis=1).sum(axis=0)
    p = [stats.binomtest(int(each), MANY, 0.5).pvalue for each in ones]
    assert min(p) > UNLIKELY / 64


# ----------------------------------------------------------------------------------------- keys


def test_new_keys_repeat_nothing():
    key = gn.random.key(0)
    drawn = [key, *gn.random.split(key, 20), *(gn.random.fold_in(key, i) for i in range(20))]
    drawn += [gn.random.fold_in(drawn[5], 0), *gn.random.split(drawn[30])]
    found = np.concatenate(run([random_bits(each, (500,), np.dtype("int64")) for each in drawn]))
    keys = np.concatenate(run([gn.reshape(each, (2,)) for each in drawn]))
    assert len(np.unique(found)) == found.size
    assert not np.isin(keys[1:], found).any()


def test_folding_in_a_node_is_folding_in_its_value():
    step = gn.input("step", dtype="int64")
    key = gn.random.key(9)
    found = run(gn.random.fold_in(key, step), 7, inputs=[step])
    assert np.array_equal(found, run(gn.random.fold_in(key, 7)))


def test_seeds_of_any_size_make_keys():
    seeds = [0, 1, -1, 2**63, 2**64 - 2]
    keys = run([gn.random.key(each) for each in seeds])
    assert len({tuple(key) for key in keys}) == len(seeds)


def test_numbers_of_neighbouring_seeds_and_streams_are_uncorrelated():
    keys = [gn.random.key(each) for each in range(4)]
    keys += [gn.random.fold_in(keys[0], each) for each in range(4)]
    keys += list(gn.random.split(keys[0], 4))
    drawn = np.stack(run([gn.random.normal(each, (20_000,)) for each in keys]))
    correlation = np.corrcoef(np.concatenate([drawn, np.roll(drawn, 1, axis=1)]))
    correlation[np.diag_indices_from(correlation)] = 0.0
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


# -------------------------------------------------------------------------------- distributions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_numbers_are_uniform(dtype):
    drawn = run(gn.random.uniform(gn.random.key(5), (MANY,), -1.0, 3.0, dtype))
    assert drawn.dtype == dtype
    assert stats.kstest(drawn.astype(np.float64), stats.uniform(-1, 4).cdf).pvalue > UNLIKELY
    counts, _ = np.histogram(drawn, bins=256, range=(-1, 3))
    assert stats.chisquare(counts).pvalue > UNLIKELY


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_numbers_of_all_dtypes_agree_up_to_rounding(dtype):
    key = gn.random.key(5)
    drawn, fine = run([gn.random.uniform(key, (1000,), dtype=each) for each in (dtype, "float64")])
    step = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24, "float64": 2**-53}[dtype]
    assert np.all(drawn < 1)
    assert np.array_equal(drawn.astype(np.float64), np.floor(fine / step) * step)


def test_the_upper_bound_is_never_drawn():
    above = float(np.nextafter(np.float32(1), np.float32(2)))
    drawn = run(gn.random.uniform(gn.random.key(5), (1000,), 1.0, above))
    assert np.all(drawn == 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_are_normal(dtype):
    drawn = run(gn.random.normal(gn.random.key(5), (MANY,), 2.0, 3.0, dtype)).astype(np.float64)
    assert stats.kstest(drawn, stats.norm(2, 3).cdf).pvalue > UNLIKELY
    assert abs(stats.skew(drawn)) < 5 * np.sqrt(6 / MANY)
    assert abs(stats.kurtosis(drawn)) < 5 * np.sqrt(24 / MANY)
    beyond = int((np.abs(drawn - 2) > 3 * 3.0).sum())
    assert stats.binomtest(beyond, MANY, 2 * stats.norm.sf(3)).pvalue > UNLIKELY


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_normal_numbers_are_finite_whatever_the_bits(dtype):
    normal = gn.random.normal(gn.random.key(0), (6,), dtype=dtype)
    (bits,) = (node for node in topological_order([normal]) if node.op is RANDOM_BITS)
    fed = gn.input("bits", (6,), "int64")
    graph = gn.Graph((), (normal,)).substitute({bits: fed})
    extremes = np.array([0, -1, 2**63 - 1, -(2**63), 2**24 - 1, -(2**24)])
    drawn = run(graph.outputs[0], extremes, inputs=[fed])
    assert np.isfinite(drawn).all()
    assert np.abs(drawn).max() == pytest.approx(np.sqrt(2 * 41 * np.log(2)), rel=1e-3)


def test_derivatives_by_the_parameters_are_exact():
    mean, std = gn.input("mean", (), "float64"), gn.input("std", (), "float64")
    key = gn.random.key(0)
    drawn = gn.random.normal(key, (4,), mean, std)
    slopes = gn.jacobian(drawn, mean), gn.jacobian(drawn, std)
    by_mean, by_std, standard = run(
        [*slopes, gn.random.normal(key, (4,), dtype="float64")], 5.0, 2.0, inputs=[mean, std]
    )
    assert np.array_equal(by_mean, np.ones(4))
    assert np.array_equal(by_std, standard)


@pytest.mark.parametrize("p", [0.0, 0.001, 0.3, 1.0])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_bernoulli_is_true_as_often_as_it_should_be(p, dtype):
    chance = gn.constant(p, dtype)
    drawn, exact = run([gn.random.bernoulli(gn.random.key(2), chance, (MANY,)), chance])
    assert stats.binomtest(int(drawn.sum()), MANY, float(exact)).pvalue > UNLIKELY


def test_a_dropout_mask_keeps_the_mean():
    drawn = run(gn.random.dropout_mask(gn.random.key(2), 0.2, (MANY,)))
    assert set(np.unique(drawn)) == {np.float32(0), np.float32(1.25)}
    assert stats.binomtest(int((drawn > 0).sum()), MANY, 0.8).pvalue > UNLIKELY


def test_categories_are_drawn_with_the_probabilities_of_softmax():
    logits = np.array([0.0, 1.0, -np.inf, -2.0])
    drawn = run(gn.random.categorical(gn.random.key(2), logits, shape=(MANY,)))
    counts = np.bincount(drawn, minlength=4)
    expected = MANY * np.exp(logits) / np.exp(logits).sum()
    assert counts[2] == 0
    assert stats.chisquare(counts[[0, 1, 3]], expected[[0, 1, 3]]).pvalue > UNLIKELY


def test_random_integers_are_alike():
    drawn = run(gn.random.randint(gn.random.key(2), (MANY,), -3, 8))
    assert (drawn.min(), drawn.max()) == (-3, 7)
    assert stats.chisquare(np.bincount(drawn + 3)).pvalue > UNLIKELY


def test_permutations_are_alike():
    keys = gn.random.split(gn.random.key(2), 2400)
    drawn = np.stack(run([gn.random.permutation(key, 4) for key in keys]))
    assert np.array_equal(np.sort(drawn, axis=1), np.tile(np.arange(4), (2400, 1)))
    counts = np.unique(drawn @ [64, 16, 4, 1], return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > UNLIKELY


def test_shapes_may_have_named_dimensions():
    x = gn.input("x", ("batch", 3))
    key = gn.random.key(0)
    nodes = [
        gn.random.normal(key, x.shape),
        gn.random.dropout_mask(key, 0.5, x.shape),
        gn.random.permutation(key, x),
        gn.random.permutation(key, x.shape[0]),
        gn.random.categorical(key, x),
    ]
    program = gn.compile(inputs=[x], outputs=nodes, backend="reference")
    for batch in (0, 1, 5):
        found = program(np.ones((batch, 3), np.float32))
        assert [each.shape for each in found] == [(batch, 3)] * 3 + [(batch,)] * 2


# --------------------------------------------------------------------------- the default stream


@pytest.mark.usefixtures("fresh_stream")
def test_the_default_stream_differs_in_every_place_and_at_every_call():
    program = gn.compile(
        inputs=[],
        outputs=[gn.random.uniform(shape=(100,)), gn.random.uniform(shape=(100,))],
        backend="reference",
    )
    drawn = np.concatenate([*program(), *program()])
    assert len(np.unique(drawn)) == 400
    assert RNG_COUNTER.value == 2


@pytest.mark.usefixtures("fresh_stream")
def test_the_same_seed_gives_the_same_numbers_also_to_a_graph_built_anew():
    def draw():
        program = gn.compile(inputs=[], outputs=gn.random.normal(shape=(5,)), backend="reference")
        return np.concatenate([program(), program()])

    gn.seed(7)
    first = draw()
    second = draw()
    gn.seed(7)
    assert np.array_equal(draw(), first)
    gn.seed(8)
    third = draw()
    assert len(np.unique(np.concatenate([first, second, third]))) == 30


@pytest.mark.usefixtures("fresh_stream")
def test_seed_reaches_programs_that_exist():
    program = gn.compile(inputs=[], outputs=gn.random.normal(shape=(5,)), backend="reference")
    first = program()
    assert not np.array_equal(program(), first)
    gn.seed(1)
    assert not np.array_equal(program(), first)
    gn.seed(0)
    assert np.array_equal(program(), first)


@pytest.mark.usefixtures("fresh_stream")
def test_saved_state_resumes_the_stream():
    program = gn.compile(inputs=[], outputs=gn.random.normal(shape=(5,)), backend="reference")
    program()
    saved = RNG_SEED.value, RNG_COUNTER.value
    expected = program()
    gn.seed(123)
    RNG_SEED.value, RNG_COUNTER.value = saved
    assert np.array_equal(program(), expected)


@pytest.mark.usefixtures("fresh_stream")
def test_programs_that_draw_nothing_leave_the_stream_alone():
    run(gn.random.normal(gn.random.key(0), (3,)))
    assert RNG_COUNTER.value == 0


@pytest.mark.usefixtures("fresh_stream")
def test_derivatives_see_the_mask_of_the_forward_pass():
    x = gn.input("x", (1000,))
    mask = gn.random.dropout_mask(rate=0.5, shape=x.shape)
    dropped = x * mask
    slope = gn.grad(gn.sum(dropped), x)
    kept, found = run([dropped, slope], np.ones(1000, np.float32), inputs=[x])
    assert np.array_equal(kept, found)
