"""Modules and layers: paths, state, and gradients against formulas and PyTorch."""

import copy
import itertools

import numpy as np
import pytest
from scipy import stats

import graphnn as gn
from graphnn.core.errors import ArgumentError, CheckpointError, ShapeError

BACKENDS = ("reference", "numpy")


class Block(gn.nn.Module):
    """Modules in an attribute, a list, a dict and a tuple, one of them twice."""

    def __init__(self):
        self.first = gn.nn.Dense(3, 3)
        self.rest = [gn.nn.Dense(3, 3), gn.nn.Sequential(gn.nn.Tanh(), self.first)]
        self.heads = {"a": gn.nn.Dense(3, 2), "b": (gn.nn.Dense(3, 2),)}
        self.count = gn.parameter(0, trainable=False)

    def forward(self, x):
        for layer in (self.first, *self.rest):
            x = layer(x)
        return self.heads["a"](x) + self.heads["b"][0](x)


PATHS = ["first", "rest.0", "heads.a", "heads.b.0"]


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# ------------------------------------------------------------------------------------- modules


def test_parameters_are_found_wherever_they_hang_and_once():
    block = Block()
    names = [f"{path}.{name}" for path in PATHS for name in ("weight", "bias")]
    assert [name for name, _ in block.named_parameters()] == names
    assert [name for name, _ in block.named_buffers()] == ["count"]
    assert len(block.parameters()) == len(set(block.parameters())) == 8
    assert block.named_modules()[0] == ("", block)


def test_a_list_that_grows_later_counts():
    model = gn.nn.Sequential(gn.nn.Dense(2, 2))
    model.layers.append(gn.nn.Dense(2, 1))
    assert [name for name, _ in model.named_parameters()][2:] == [
        "layers.1.weight",
        "layers.1.bias",
    ]


def test_modules_that_refer_to_each_other_are_walked_once():
    outer, inner = Block(), Block()
    outer.inner, inner.outer = inner, outer
    assert len(outer.parameters()) == 16


def test_a_call_names_parameters_and_opens_scopes():
    model = gn.nn.Sequential(gn.nn.Dense(3, 4), gn.nn.Sequential(gn.nn.Dense(4, 2)))
    y = model(gn.input("x", shape=("batch", 3)))
    assert [p.name for p in model.parameters()] == [name for name, _ in model.named_parameters()]
    assert gn.provenance(y).scope == "layers.1/layers.0"


def test_a_module_made_during_a_call_is_named_after_its_class():
    class Late(gn.nn.Module):
        def forward(self, x):
            return gn.nn.Tanh()(x)

    assert gn.provenance(Late()(gn.input("x", shape=(2,)))).scope == "Tanh"


def test_a_failed_call_leaves_no_trace():
    model = gn.nn.Sequential(gn.nn.Dense(3, 4))
    with pytest.raises(ShapeError):
        model(gn.input("x", shape=("batch", 5)))
    assert gn.provenance(gn.tanh(gn.input("y", shape=(2,)))).scope == ""


def test_train_and_eval_reach_every_module():
    block = Block()
    assert block.eval() is block
    assert not any(module.training for _, module in block.named_modules())
    assert all(module.training for _, module in block.train().named_modules())


def test_state_survives_a_round_trip():
    block, other = Block(), Block()
    unmatched = other.load_state_dict(block.state_dict())
    assert unmatched == ([], [])
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, block.state_dict()[name])


def test_state_dict_is_a_copy():
    layer = gn.nn.Dense(2, 2)
    layer.state_dict()["weight"][:] = 7.0
    assert not (layer.weight.value == 7.0).any()


def test_a_state_that_does_not_fit_lists_everything_and_changes_nothing():
    layer = gn.nn.Dense(2, 3)
    before = layer.state_dict()
    state = {"bias": np.ones(4), "more": np.ones(1)}
    with pytest.raises(CheckpointError) as caught:
        layer.load_state_dict(state)
    for words in ("missing: weight", "unexpected: more", "bias: (4,) float64 does not fit (3,)"):
        assert words in str(caught.value)
    with pytest.raises(CheckpointError, match="complex128 does not fit"):
        layer.load_state_dict({"weight": np.ones((2, 3), complex), "bias": np.ones(3)})
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_not_strict_passes_over_names_but_not_shapes():
    layer = gn.nn.Dense(2, 3)
    unmatched = layer.load_state_dict({"bias": np.ones(3), "more": 0}, strict=False)
    assert unmatched == (["weight"], ["more"])
    np.testing.assert_array_equal(layer.bias.value, np.ones(3))
    with pytest.raises(CheckpointError, match=r"bias: \(4,\)"):
        layer.load_state_dict({"bias": np.ones(4)}, strict=False)


def test_a_deep_copy_has_parameters_of_its_own():
    block = Block()
    twin = copy.deepcopy(block)
    assert not set(twin.parameters()) & set(block.parameters())
    assert twin.rest[1].layers[1] is twin.first
    assert twin.state_dict().keys() == block.state_dict().keys()
    block.first.weight.value = np.zeros((3, 3))
    assert twin.first.weight.value.any()


def test_repr_is_short():
    assert repr(Block()).startswith("Block(first=Dense(3, 3), rest.0=Dense(3, 3), rest.1=")
    many = gn.nn.Sequential(*(gn.nn.ReLU() for _ in range(100)))
    assert repr(many).endswith("... 94 more)")
    assert repr(gn.nn.Dense(2, 3, bias=False)) == "Dense(2, 3, bias=False)"
    assert repr(gn.nn.SimpleRNN(2, 3, batch_first=True)) == "SimpleRNN(2, 3, batch_first=True)"


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        gn.nn.Module()(1.0)


# -------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("bias", [True, False])
def test_dense_is_a_product_and_a_sum(bias):
    layer = gn.nn.Dense(3, 4, bias=bias, bias_init=gn.init.normal, dtype="float64")
    x = gn.input("x", shape=("batch", 3), dtype="float64")
    fed = rows(5, 3)
    expected = fed @ layer.weight.value + (layer.bias.value if bias else 0.0)
    np.testing.assert_allclose(gn.evaluate(layer(x), {x: fed}), expected, rtol=1e-12)
    assert gn.nn.Linear is gn.nn.Dense


@pytest.mark.parametrize("sizes", [(0, 2), (2, -1), (2.0, 3), (True, 2)])
def test_dense_refuses_sizes(sizes):
    with pytest.raises(ArgumentError, match="must be a positive integer"):
        gn.nn.Dense(*sizes)


def test_dense_refuses_another_width():
    with pytest.raises(ShapeError, match=r"Dense\(3, 4\).*size 3, its shape is \(batch, 8, 8\)"):
        gn.nn.Dense(3, 4)(gn.input("x", shape=("batch", 8, 8)))


def test_sequential_refuses_what_is_no_layer():
    with pytest.raises(ArgumentError, match="is not a layer"):
        gn.nn.Sequential([gn.nn.ReLU()])
    with pytest.raises(ArgumentError, match="is not a layer"):
        gn.nn.Sequential(gn.nn.ReLU)


def test_a_residual_block_adds_what_its_layers_make_to_its_shortcut():
    def dense(inputs, outputs):
        return gn.nn.Dense(inputs, outputs, bias_init=gn.init.normal, dtype="float64")

    fed, x = rows(5, 3), gn.input("x", ("batch", 3), "float64")
    plain = gn.nn.ResidualBlock(dense(3, 4), gn.tanh, dense(4, 3))
    widened = gn.nn.ResidualBlock(dense(3, 4), gn.nn.Tanh(), shortcut=dense(3, 4))
    first, second = plain.layers[0], plain.layers[2]
    hidden = np.tanh(fed @ first.weight.value + first.bias.value)
    expected = fed + hidden @ second.weight.value + second.bias.value
    np.testing.assert_allclose(gn.evaluate(plain(x), {x: fed}), expected, rtol=1e-12)
    layer, short = widened.layers[0], widened.shortcut
    expected = fed @ short.weight.value + short.bias.value
    expected += np.tanh(fed @ layer.weight.value + layer.bias.value)
    np.testing.assert_allclose(gn.evaluate(widened(x), {x: fed}), expected, rtol=1e-12)
    paths = ["layers.0.weight", "layers.0.bias", "shortcut.weight", "shortcut.bias"]
    assert [path for path, _ in widened.named_parameters()] == paths
    assert repr(widened) == "ResidualBlock(Dense(3, 4), Tanh(), shortcut=Dense(3, 4))"
    with pytest.raises(ShapeError, match=r"make \(batch, 4\) of \(batch, 3\), which is not added"):
        gn.nn.ResidualBlock(dense(3, 4))(x)
    with pytest.raises(ShapeError, match="is not added"):  # it would broadcast
        gn.nn.ResidualBlock(dense(3, 1))(x)
    with pytest.raises(ArgumentError, match="no layers"):
        gn.nn.ResidualBlock()


def test_shared_parameters_get_the_sum_of_their_gradients():
    """An auto-encoder whose decoder is its encoder turned round, applied twice."""
    torch = pytest.importorskip("torch")
    encoder, fed = gn.nn.Dense(4, 2, bias=False, dtype="float64"), rows(5, 4)

    def loss_of(encode, weight, x):
        once = encode(x) @ weight.T
        return ((encode(once) @ weight.T - x) ** 2).sum()

    x = gn.input("x", ("batch", 4), "float64")
    (gradient,) = gn.grad(loss_of(encoder, encoder.weight, x), encoder.parameters())
    w = torch.tensor(encoder.weight.value, requires_grad=True)
    loss_of(lambda x: x @ w, w, torch.tensor(fed)).backward()
    np.testing.assert_allclose(gn.evaluate(gradient, {x: fed}), w.grad.numpy(), rtol=1e-10)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (gn.nn.ReLU(), gn.relu),
        (gn.nn.Tanh(), gn.tanh),
        (gn.nn.Sigmoid(), gn.sigmoid),
        (gn.nn.GELU(approximate="tanh"), gn.gelu_tanh),
        (gn.nn.LeakyReLU(negative_slope=0.3), lambda x: gn.leaky_relu(x, 0.3)),
        (gn.nn.Softmax(axis=0), lambda x: gn.softmax(x, axis=0)),
        (gn.nn.Identity(), lambda x: x),
    ],
)
def test_an_activation_layer_builds_the_node_of_its_function(layer, function):
    x = gn.input("x", shape=(2, 3))
    assert layer(x) is function(x)
    assert not layer.parameters()


def test_every_activation_layer_is_pytorchs_of_that_name():
    torch = pytest.importorskip("torch")
    names = "ELU GELU Identity LeakyReLU LogSigmoid Mish ReLU ReLU6 SELU SiLU Sigmoid Softplus Tanh"
    theirs = {
        **{name: getattr(torch.nn, name)() for name in names.split()},
        "HardSigmoid": torch.nn.Hardsigmoid(),
        "HardTanh": torch.nn.Hardtanh(),
        "LogSoftmax": torch.nn.LogSoftmax(-1),
        "Sign": torch.sign,
        "Softmax": torch.nn.Softmax(-1),
        "Step": lambda x: torch.heaviside(x, torch.ones((), dtype=x.dtype)),
        "Swish": torch.nn.SiLU(),
    }
    ours = {name for name in vars(gn.nn) if getattr(gn.nn, name) in activation_layers()}
    assert ours - {"Activation"} == theirs.keys()
    fed = 4.0 * rows(3, 5)
    found = gn.evaluate({name: getattr(gn.nn, name)()(gn.constant(fed)) for name in theirs})
    for name, peer in theirs.items():
        expected = peer(torch.tensor(fed)).numpy()
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-14, err_msg=name)


def activation_layers():
    return [gn.nn.Activation, *gn.nn.Activation.__subclasses__()]


def test_an_activation_refuses_options_its_function_does_not_have():
    with pytest.raises(ArgumentError, match=r"ReLU: .*slope"):
        gn.nn.ReLU(slope=1.0)


def test_prelu_learns_its_slope():
    layer = gn.nn.PReLU((3,))
    x = gn.input("x", shape=(1, 3))
    slope_gradient = gn.grad(gn.sum(layer(x)), layer.slope)
    result = gn.evaluate([layer(x), slope_gradient], {x: [[-1.0, 2.0, -3.0]]})
    np.testing.assert_allclose(result[0], [[-0.25, 2.0, -0.75]])
    np.testing.assert_allclose(result[1], [-1.0, 0.0, -3.0])


def test_dropout_scales_what_it_keeps_and_differs_from_call_to_call():
    gn.seed(3)
    layer, x = gn.nn.Dropout(0.25), gn.input("x", shape=(100, 100))
    program = gn.compile(x, [layer(x), layer(x)])
    first, second = program(np.ones((100, 100), np.float32))
    kept = np.float32(1 / 0.75)
    assert set(np.unique(first)) == {np.float32(0.0), kept}
    assert abs((first == 0).mean() - 0.25) < 0.02
    assert (first != second).any()
    assert (first != program(np.ones((100, 100), np.float32))[0]).any()


def test_dropout_is_the_identity_in_evaluation():
    x = gn.input("x", shape=(2,))
    assert gn.nn.Dropout(0.5).eval()(x) is x
    assert gn.nn.Dropout(0.0)(x) is x
    for rate in (1.0, -0.1, float("nan"), "half"):
        with pytest.raises(ArgumentError, match="rate"):
            gn.nn.Dropout(rate)


# --------------------------------------------------------------- backpropagation, layer by layer


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_the_delta_rule(backend):
    """The four equations of backpropagation (Nielsen, chapter 2), rows being samples."""
    sizes = (4, 5, 3, 2)
    gn.seed(0)
    layers = [gn.nn.Dense(m, n, dtype="float64") for m, n in itertools.pairwise(sizes)]
    x = gn.input("x", shape=("batch", 4), dtype="float64")
    t = gn.input("t", shape=("batch", 2), dtype="float64")
    a = x
    for layer in layers:
        a = gn.sigmoid(layer(a))
    loss = gn.losses.quadratic(a, t)
    gradients = gn.grad(loss, [(layer.weight, layer.bias) for layer in layers])
    fed, target = rows(6, 4), rows(6, 2, seed=1)
    found = gn.compile([x, t], gradients, backend=backend)(fed, target)

    activations = [fed]
    for layer in layers:
        z = activations[-1] @ layer.weight.value + layer.bias.value
        activations.append(1 / (1 + np.exp(-z)))
    slopes = [a * (1 - a) for a in activations]
    delta = (activations[-1] - target) / len(fed) * slopes[-1]  # (1)
    for index in reversed(range(len(layers))):
        by_weight, by_bias = found[index]
        np.testing.assert_allclose(by_bias, delta.sum(axis=0), rtol=1e-11)  # (3)
        np.testing.assert_allclose(by_weight, activations[index].T @ delta, rtol=1e-11)  # (4)
        delta = delta @ layers[index].weight.value.T * slopes[index]  # (2)


# --------------------------------------------------------------------------------- initialisers


@pytest.mark.parametrize(
    ("initial", "std"),
    [
        (gn.init.glorot_uniform, np.sqrt(2 / 500)),
        (gn.init.glorot_normal, np.sqrt(2 / 500)),
        (gn.init.he_uniform, np.sqrt(2 / 300)),
        (gn.init.he_normal, np.sqrt(2 / 300)),
        (gn.init.lecun_uniform, np.sqrt(1 / 300)),
        (gn.init.lecun_normal, np.sqrt(1 / 300)),
        (gn.init.normal, 0.05),
        (gn.init.truncated_normal, 0.05 * 0.8796),
        (gn.init.uniform, 1 / np.sqrt(12)),
    ],
)
def test_initialisers_have_their_spread(initial, std):
    values = initial((300, 200), np.random.default_rng(0))
    assert abs(values.mean()) < 4 * std / np.sqrt(values.size)
    np.testing.assert_allclose(values.std(), std, rtol=0.02)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7)])
def test_orthogonal_is_orthogonal(shape):
    q = gn.init.orthogonal(shape, np.random.default_rng(0), gain=2.0)
    small = q.T @ q if shape[0] >= shape[1] else q @ q.T
    np.testing.assert_allclose(small, 4.0 * np.eye(min(shape)), atol=1e-12)


def test_orthogonal_prefers_no_direction():
    rng = np.random.default_rng(0)
    traces = [np.trace(gn.init.orthogonal((3, 3), rng)) for _ in range(1000)]
    assert abs(np.mean(traces)) < 0.15  # it would be -0.5 with the signs that QR gives


def test_a_seed_makes_a_model_the_same_again():
    states = []
    for _ in range(2):
        gn.seed(7)
        states.append(gn.nn.Sequential(gn.nn.Dense(3, 4), gn.nn.Dense(4, 2)).state_dict())
    gn.seed(8)
    other = gn.nn.Dense(3, 4)
    for name in states[0]:
        assert states[0][name].tobytes() == states[1][name].tobytes()
    assert (other.weight.value != states[0]["layers.0.weight"]).any()


def test_a_generator_is_used_in_order():
    first, second = (gn.nn.Dense(3, 2, rng=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.weight.value, second.weight.value)
    np.testing.assert_array_equal(
        first.weight.value,
        gn.init.glorot_uniform((3, 2), np.random.default_rng(5)).astype(np.float32),
    )


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gn.init.glorot_uniform((3,)), ShapeError, "fans of shape"),
        (lambda: gn.init.he_normal((3, 3, 2), fans=(0, 1)), ShapeError, "at least 1"),
        (lambda: gn.init.orthogonal((3,)), ShapeError, "two sizes"),
        (lambda: gn.init.identity((3, 3, 3)), ShapeError, "two sizes"),
        (lambda: gn.init.truncated_normal((3,), bound=0), ArgumentError, "bound must be above 0"),
        (lambda: gn.init.gain_of("swish"), ArgumentError, "no activation 'swish'"),
        (lambda: gn.init.uniform((2,), low=1.0, high=0.0), ArgumentError, "above"),
        (lambda: gn.init.normal((2,), std=-1.0), ArgumentError, "negative"),
        (lambda: gn.init.normal((2,), 5), ArgumentError, "a generator is needed"),
    ],
)
def test_initialisers_refuse(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_fans_may_be_given():
    values = gn.init.he_uniform((3, 3, 8, 4), np.random.default_rng(0), fans=(72, 36))
    assert abs(values).max() <= np.sqrt(6 / 72)
    np.testing.assert_array_equal(gn.init.constant((2,), value=3.0), [3.0, 3.0])
    np.testing.assert_array_equal(gn.init.zeros((2,)), [0.0, 0.0])
    np.testing.assert_array_equal(gn.init.ones((2,)), [1.0, 1.0])
    np.testing.assert_array_equal(gn.init.identity((2, 3), gain=2.0), [[2, 0, 0], [0, 2, 0]])


def test_fans_of_kernels_and_gains_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    kernel = torch.zeros(6, 4, 3, 5)
    fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(kernel)
    values = gn.init.glorot_uniform((6, 4, 3, 5), np.random.default_rng(0))
    bound = np.sqrt(6 / (fan_in + fan_out))
    assert 0.95 * bound < abs(values).max() <= bound
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        np.testing.assert_allclose(gn.init.gain_of(name), torch.nn.init.calculate_gain(name))


def test_truncated_normal_is_scipys():
    values = gn.init.truncated_normal((20_000,), np.random.default_rng(0), mean=1.0, std=0.5)
    found = stats.kstest(values, stats.truncnorm(-2, 2, loc=1.0, scale=0.5).cdf)
    assert found.pvalue > 0.01


# ------------------------------------------------------------------------------- Monte Carlo


@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_monte_carlo_dropout_has_the_mean_and_variance_of_the_choices(backend):
    gn.seed(0)
    model = gn.nn.Sequential(gn.nn.Dropout(0.25), gn.nn.Dense(6, 1, bias=False))
    x = gn.input("x", shape=("batch", 6))
    array = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    outputs = gn.nn.monte_carlo(model, x, samples=4000)
    mean, variance = gn.compile(x, outputs, backend=backend)(array)
    terms = array * model[1].weight.value[:, 0]
    expected = (terms**2).sum(axis=1) * 0.25 / 0.75  # of independent choices, scaled
    np.testing.assert_allclose(variance[:, 0], expected, rtol=0.15)
    error = np.sqrt(expected / 4000)
    assert (abs(mean[:, 0] - terms.sum(axis=1)) < 5 * error).all()
    assert model.training
    assert model[0].training


def test_monte_carlo_leaves_other_layers_in_evaluation_mode():
    model = gn.nn.Sequential(gn.nn.BatchNorm(2), gn.nn.Dropout(0.5)).eval()
    mean, variance = gn.nn.monte_carlo(model, gn.constant([[1.0, 2.0]]), samples=1)
    assert gn.evaluate(variance).tolist() == [[0.0, 0.0]]
    assert set(np.round(gn.evaluate(mean)[0] / [2.0, 4.0], 3)) <= {0.0, 1.0}
    assert not model.training
    for bad in (gn.nn.Dense(2, 2), gn.nn.Dropout(0.0)):
        with pytest.raises(ArgumentError, match="drops nothing"):
            gn.nn.monte_carlo(bad, gn.constant([[1.0, 2.0]]))
