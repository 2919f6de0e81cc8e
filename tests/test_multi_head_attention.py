"""Attention in several heads and the layers of transformers, against PyTorch's and formulas."""

import numpy as np
import pytest
from beside_torch import compare

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError

TIME, STEPS, BATCH, FEATURES, HEADS, KEY, VALUE = 4, 5, 3, 6, 2, 5, 4
HIDDEN = 7
RNG = np.random.default_rng(0)
X = RNG.normal(size=(TIME, BATCH, FEATURES))
K, V = RNG.normal(size=(STEPS, BATCH, KEY)), RNG.normal(size=(STEPS, BATCH, VALUE))
LENGTHS = np.array([4, 2, 1])
REAL = np.arange(TIME)[:, None] < LENGTHS


def rows_first(x):
    return np.moveaxis(x, 0, 1)


def scrambled(layer):
    """Other values for all parameters: biases that are 0 and scales that are 1 hide mistakes."""
    for parameter in layer.parameters():
        parameter.value = RNG.normal(size=parameter.array.shape)
    return layer


def with_parameters(layer, values):
    """The layer with nodes in place of its parameters."""
    for (path, _), value in zip(layer.named_parameters(), values, strict=True):
        *where, name = path.split(".")
        part = layer
        for word in where:
            part = part[int(word)] if isinstance(part, list) else getattr(part, word)
        setattr(part, name, value)
    return layer


def values_of(layer):
    return [each.value for each in scrambled(layer).parameters()]


def as_theirs(torch, prefix, values):
    """Names and values of their attention, from weights and biases of our four projections."""
    (wq, bq), (wk, bk), (wv, bv), (wo, bo) = zip(values[::2], values[1::2], strict=True)
    found = {f"{prefix}in_proj_bias": torch.cat([bq, bk, bv])}
    if wq.shape == wk.shape == wv.shape:
        found[f"{prefix}in_proj_weight"] = torch.cat([wq, wk, wv], 1).T
    else:
        for word, weight in (("q", wq), ("k", wk), ("v", wv)):
            found[f"{prefix}{word}_proj_weight"] = weight.T
    return found | {f"{prefix}out_proj.weight": wo.T, f"{prefix}out_proj.bias": bo}


@pytest.mark.parametrize(
    ("kind", "masks", "batch_first"),
    [
        ("self", "none", False),
        ("self", "causal", True),
        ("self", "padding", False),
        ("self", "padding", True),
        ("cross", "none", True),
        ("cross", "padding", False),
        ("cross", "pairs", True),
    ],
)
def test_values_weights_and_all_gradients_are_pytorchs(kind, masks, batch_first):
    torch = pytest.importorskip("torch")
    sizes = {} if kind == "self" else {"key_features": KEY, "value_features": VALUE}

    def make():
        return gn.nn.MultiHeadAttention(
            FEATURES,
            HEADS,
            **sizes,
            is_causal=masks == "causal",
            batch_first=batch_first,
            dtype="float64",
        )

    kdim, vdim = (FEATURES, FEATURES) if kind == "self" else (KEY, VALUE)
    peer = torch.nn.MultiheadAttention(
        FEATURES, HEADS, kdim=kdim, vdim=vdim, batch_first=batch_first, dtype=torch.float64
    )
    steps = TIME if kind == "self" else STEPS
    pairs = RNG.random((TIME, steps)) < 0.6
    pairs[:, 0] = True  # where no key is seen, theirs is NaN
    hidden = {
        "none": {},
        "causal": {"attn_mask": torch.tensor(~np.tri(TIME, steps, dtype=bool))},
        "padding": {"key_padding_mask": torch.tensor(np.arange(steps) >= LENGTHS[:, None])},
        "pairs": {"attn_mask": torch.tensor(~pairs)},
    }[masks]
    seen = {"padding": {"lengths": LENGTHS}, "pairs": {"attention_mask": pairs}}.get(masks, {})
    arrays = [X] if kind == "self" else [X, K, V]
    arrays = [rows_first(each) for each in arrays] if batch_first else arrays
    is_padding = np.zeros((TIME, BATCH), bool)
    if (kind, masks) == ("self", "padding"):
        is_padding = ~REAL
    kept = torch.tensor(~(is_padding.T if batch_first else is_padding))[..., None]

    def ours(*given):
        layer = with_parameters(make(), given[len(arrays) :])
        y, weights = layer(*given[: len(arrays)], **seen)
        return y, gn.where(rows_first(~is_padding)[:, None, :, None], weights, 0)

    def theirs(*given):
        inputs = given[: len(arrays)] if kind == "cross" else (given[0],) * 3
        y, weights = torch.func.functional_call(
            peer,
            as_theirs(torch, "", given[len(arrays) :]),
            inputs,
            {"average_attn_weights": False, **hidden},
        )
        return y * kept, weights * torch.tensor(rows_first(~is_padding))[:, None, :, None]

    compare(ours, theirs, *arrays, *values_of(make()))


@pytest.mark.parametrize(("kind", "norm_first"), [("encoder", True), ("decoder", False)])
def test_layers_of_transformers_are_pytorchs(kind, norm_first):
    torch = pytest.importorskip("torch")
    memory = RNG.normal(size=(STEPS, BATCH, FEATURES))
    padding = np.arange(TIME) >= LENGTHS[:, None]
    has_memory = kind == "decoder"

    def make():
        return gn.nn.TransformerLayer(
            FEATURES,
            HEADS,
            HIDDEN,
            memory_features=FEATURES if has_memory else None,
            is_causal=has_memory,
            norm_first=norm_first,
            dtype="float64",
        )

    type_of = torch.nn.TransformerDecoderLayer if has_memory else torch.nn.TransformerEncoderLayer
    peer = type_of(FEATURES, HEADS, HIDDEN, 0.0, norm_first=norm_first, dtype=torch.float64)
    parts = ["self_attn.", "multihead_attn."] if has_memory else ["self_attn."]
    others = [f"linear{n}.{word}" for n in (1, 2) for word in ("weight", "bias")]
    others += [f"norm{n + 1}.{word}" for n in range(len(parts) + 1) for word in ("weight", "bias")]

    def ours(x, *given):
        inputs = (x, given[0]) if has_memory else (x,)
        layer = with_parameters(make(), given[has_memory:]).eval()
        options = {"memory_lengths": LENGTHS} if has_memory else {}
        return layer(*inputs, lengths=LENGTHS, **options)

    def theirs(x, *given):
        values, state = list(given[has_memory:]), {}
        for part in parts:
            state |= as_theirs(torch, part, values[:8])
            values = values[8:]
        state |= dict(zip(others, values, strict=True))
        for name in ("linear1.weight", "linear2.weight"):
            state[name] = state[name].T
        hidden = torch.tensor(padding)
        if has_memory:
            causal = torch.tensor(~np.tri(TIME, dtype=bool))
            inputs = (x, given[0], causal)
            beyond = torch.tensor(np.arange(STEPS) >= LENGTHS[:, None])
            options = {"tgt_key_padding_mask": hidden, "memory_key_padding_mask": beyond}
        else:
            inputs, options = (x,), {"src_key_padding_mask": hidden}
        y = torch.func.functional_call(peer, state, inputs, options)
        return y * torch.tensor(REAL)[..., None]

    inputs = (X, memory) if has_memory else (X,)
    compare(ours, theirs, *inputs, *values_of(make()), rtol=1e-11)


def test_padding_may_be_nan_and_gets_no_gradient():
    layer = gn.nn.TransformerLayer(
        FEATURES, HEADS, HIDDEN, memory_features=KEY, dropout=0.0, dtype="float64"
    )
    attention = gn.nn.MultiHeadAttention(FEATURES, HEADS, dtype="float64")
    x, memory = gn.input("x", X.shape, "float64"), gn.input("memory", K.shape, "float64")
    y = layer(x, memory, lengths=LENGTHS, memory_lengths=LENGTHS) + attention(x, mask=REAL)[0]
    wanted = [x, memory, layer.attention.key.weight, layer.memory_attention.value.weight]
    program = gn.compile([x, memory], [y, *gn.grad(gn.sum(gn.sin(y)), wanted)])
    known = np.arange(STEPS)[:, None] < LENGTHS
    clean = program(X, K)
    wild = program(*(np.where(of[..., None], a, np.nan) for of, a in ((REAL, X), (known, K))))
    for one, other in zip(clean, wild, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)
    assert (clean[0][~REAL] == 0).all()
    assert (clean[1][~REAL] == 0).all()
    assert (clean[1][REAL] != 0).all()
    assert (clean[2][~known] == 0).all()


def test_a_query_that_sees_no_key_gets_the_bias_of_the_output():
    layer = scrambled(gn.nn.MultiHeadAttention(FEATURES, HEADS, key_features=KEY, dtype="float64"))
    y, weights = gn.evaluate(layer(gn.constant(X), gn.constant(K), lengths=[5, 0, 3]))
    np.testing.assert_array_equal(weights[1], 0)
    np.testing.assert_array_equal(y[:, 1], np.tile(layer.output.bias.value, (TIME, 1)))


def test_a_causal_layer_sees_nothing_later():
    layer = gn.nn.TransformerLayer(
        FEATURES, HEADS, HIDDEN, is_causal=True, batch_first=True, dtype="float64"
    )
    x = gn.input("x", ("batch", TIME, FEATURES), "float64")
    program = gn.compile(x, layer.eval()(x))
    given = rows_first(X)
    changed = given.copy()
    changed[:, 2] += 1.0
    same = program(given) == program(changed)
    assert same[:, :2].all()
    assert not same[:, 2:].any()


def test_dropout_is_at_work_in_training_and_in_monte_carlo_samples():
    layer = gn.nn.MultiHeadAttention(8, 2, dropout=0.5)
    x = RNG.normal(size=(6, 2, 8)).astype("float32")
    training = gn.compile([], list(layer(gn.constant(x))))
    (one, weights), (other, same) = training(), training()
    assert (one != other).any()
    np.testing.assert_array_equal(weights, same)
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-6)
    evaluation = gn.compile([], layer.eval()(gn.constant(x))[0])
    np.testing.assert_array_equal(evaluation(), evaluation())
    model = gn.nn.Sequential(gn.nn.TransformerLayer(8, 2, 16, dropout=0.2))
    _, variance = gn.nn.monte_carlo(model, gn.constant(x), samples=5)
    assert gn.evaluate(variance).min() > 0


def test_weights_that_are_not_used_cost_nothing():
    layer = gn.nn.MultiHeadAttention(FEATURES, HEADS)
    x = gn.input("x", X.shape)
    program = gn.compile(x, layer(x)[0])
    assert not [each for each in program.instructions if "eye" in each.label]


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (
            ShapeError,
            r"query must have shape \(time, batch, 6\), not \(4, 6\)",
            lambda m: m(X[:, 0]),
        ),
        (
            ShapeError,
            r"keys must have shape \(time, batch, 6\), not \(5, 3, 5\)",
            lambda m: m(X, K),
        ),
        (ShapeError, "query has 3 rows and the keys 4", lambda m: m(X, rows_first(X))),
        (ShapeError, "keys of 4 steps and values of 3", lambda m: m(X, X, X[:3])),
        (ShapeError, r"lengths must be \(3,\)", lambda m: m(X, lengths=[1, 2])),
        (ShapeError, "mask: shapes", lambda m: m(X, attention_mask=np.ones((5, 4), bool))),
        (DTypeError, "mask must be bool", lambda m: m(X, attention_mask=np.ones((4, 4)))),
        (ArgumentError, "give one of them", lambda m: m(X, lengths=LENGTHS, mask=REAL)),
    ],
)
def test_mistakes_are_told(error, words, call):
    with pytest.raises(error, match=words):
        call(gn.nn.MultiHeadAttention(FEATURES, HEADS, dtype="float64"))


def test_mistakes_with_memories_and_sizes_are_told():
    plain = gn.nn.TransformerLayer(6, 2, 8, dtype="float64")
    remembering = gn.nn.TransformerLayer(6, 2, 8, memory_features=5, dtype="float64")
    with pytest.raises(ArgumentError, match="a memory is given"):
        plain(X, K)
    with pytest.raises(ArgumentError, match="a memory is not given"):
        remembering(X)
    with pytest.raises(
        ShapeError, match=r"input must have shape \(time, batch, 6\), not \(5, 3, 5"
    ):
        plain(K)
    with pytest.raises(ArgumentError, match="6 features do not divide into 4 heads"):
        gn.nn.MultiHeadAttention(6, 4)


def test_how_they_look():
    attention = gn.nn.MultiHeadAttention(8, 2, key_features=6, is_causal=True)
    assert repr(attention) == (
        "MultiHeadAttention(8, 2, key_features=6, value_features=6, is_causal=True)"
    )
    layer = gn.nn.TransformerLayer(8, 2, 16, memory_features=4, norm_first=True)
    assert repr(layer) == "TransformerLayer(8, 2, 16, memory_features=4, norm_first=True)"
