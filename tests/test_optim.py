"""Optimizers: fifty steps against formulas in float64 and against PyTorch, and what they refuse."""

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError, GradientError, ShapeError

STEPS = 50
BACKENDS = ("reference", "numpy")


# Formulas: from options to a function (value, gradient, memory, step) -> value.


def sgd(learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
    def update(p, g, memory, step):
        g = g + weight_decay * p
        memory["v"] = momentum * memory.get("v", 0.0) + g
        return p - learning_rate * (g + momentum * memory["v"] if nesterov else memory["v"])

    return update


def adam(
    learning_rate,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    weight_decay=0.0,
    decoupled=False,
    amsgrad=False,
):
    def update(p, g, memory, step):
        if decoupled:
            p = p - learning_rate * weight_decay * p
        else:
            g = g + weight_decay * p
        memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
        memory["v"] = beta2 * memory.get("v", 0.0) + (1 - beta2) * g**2
        m, v = memory["m"] / (1 - beta1**step), memory["v"]
        if amsgrad:
            v = memory["most"] = np.maximum(v, memory.get("most", 0.0))
        v = v / (1 - beta2**step)
        return p - learning_rate * m / (np.sqrt(v) + epsilon)

    return update


def adamw(learning_rate, weight_decay=0.01):
    return adam(learning_rate, weight_decay=weight_decay, decoupled=True)


def adagrad(learning_rate, epsilon=1e-10, initial=0.0, weight_decay=0.0):
    def update(p, g, memory, step):
        g = g + weight_decay * p
        memory["s"] = memory.get("s", initial) + g**2
        return p - learning_rate * g / (np.sqrt(memory["s"]) + epsilon)

    return update


def adadelta(learning_rate, rho=0.9, epsilon=1e-6, weight_decay=0.0):
    def update(p, g, memory, step):
        g = g + weight_decay * p
        memory["s"] = rho * memory.get("s", 0.0) + (1 - rho) * g**2
        change = np.sqrt((memory.get("u", 0.0) + epsilon) / (memory["s"] + epsilon)) * g
        memory["u"] = rho * memory.get("u", 0.0) + (1 - rho) * change**2
        return p - learning_rate * change

    return update


def rmsprop(learning_rate, rho=0.99, momentum=0.0, epsilon=1e-8, centered=False, weight_decay=0.0):
    def update(p, g, memory, step):
        g = g + weight_decay * p
        memory["s"] = rho * memory.get("s", 0.0) + (1 - rho) * g**2
        memory["m"] = rho * memory.get("m", 0.0) + (1 - rho) * g
        variance = memory["s"] - memory["m"] ** 2 if centered else memory["s"]
        memory["v"] = momentum * memory.get("v", 0.0) + g / (np.sqrt(variance) + epsilon)
        return p - learning_rate * memory["v"]

    return update


def adamax(learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
    def update(p, g, memory, step):
        g = g + weight_decay * p
        memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
        memory["u"] = np.maximum(beta2 * memory.get("u", 0.0), np.abs(g) + epsilon)
        return p - learning_rate / (1 - beta1**step) * memory["m"] / memory["u"]

    return update


def nadam(
    learning_rate,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    momentum_decay=4e-3,
    weight_decay=0.0,
    decoupled=False,
):
    def momentum(t):
        return beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    def update(p, g, memory, step):
        if decoupled:
            p = p - learning_rate * weight_decay * p
        else:
            g = g + weight_decay * p
        memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
        memory["v"] = beta2 * memory.get("v", 0.0) + (1 - beta2) * g**2
        product = memory["P"] = memory.get("P", 1.0) * momentum(step)
        after = momentum(step + 1)
        ahead = after * memory["m"] / (1 - product * after)
        ahead = ahead + (1 - momentum(step)) * g / (1 - product)
        return p - learning_rate * ahead / (np.sqrt(memory["v"] / (1 - beta2**step)) + epsilon)

    return update


def rprop(learning_rate, shrink=0.5, grow=1.2, least=1e-6, most=50.0):
    def update(p, g, memory, step):
        size, before = memory.get("size", np.full_like(p, learning_rate)), memory.get("g", 0 * p)
        factor = np.where(g * before > 0, grow, np.where(g * before < 0, shrink, 1.0))
        memory["size"] = np.clip(size * factor, least, most)
        memory["g"] = np.where(g * before < 0, 0.0, g)
        return p - np.sign(memory["g"]) * memory["size"]

    return update


def lion(learning_rate, beta1=0.9, beta2=0.99, weight_decay=0.0):
    def update(p, g, memory, step):
        m = memory.get("m", 0.0)
        memory["m"] = beta2 * m + (1 - beta2) * g
        return p - learning_rate * (np.sign(beta1 * m + (1 - beta1) * g) + weight_decay * p)

    return update


CASES = {
    "sgd": (gn.optim.SGD, sgd, "SGD", {"learning_rate": 0.1}),
    "weight decay": (gn.optim.SGD, sgd, "SGD", {"learning_rate": 0.1, "weight_decay": 0.2}),
    "momentum": (gn.optim.SGD, sgd, "SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "nesterov": (
        gn.optim.SGD,
        sgd,
        "SGD",
        {"learning_rate": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    "adam": (gn.optim.Adam, adam, "Adam", {"learning_rate": 0.1}),
    "adam, other options": (
        gn.optim.Adam,
        adam,
        "Adam",
        {"learning_rate": 0.05, "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3, "weight_decay": 0.1},
    ),
    "adamw": (gn.optim.AdamW, adamw, "AdamW", {"learning_rate": 0.1, "weight_decay": 0.3}),
    "amsgrad": (
        gn.optim.Adam,
        adam,
        "Adam",
        {"learning_rate": 0.1, "beta2": 0.8, "amsgrad": True},
    ),
    "adagrad": (gn.optim.Adagrad, adagrad, "Adagrad", {"learning_rate": 0.3}),
    "adagrad, other options": (
        gn.optim.Adagrad,
        adagrad,
        "Adagrad",
        {"learning_rate": 0.2, "epsilon": 1e-3, "initial": 0.5, "weight_decay": 0.1},
    ),
    "adadelta": (gn.optim.Adadelta, adadelta, "Adadelta", {"learning_rate": 1.0}),
    "adadelta, other options": (
        gn.optim.Adadelta,
        adadelta,
        "Adadelta",
        {"learning_rate": 2.0, "rho": 0.7, "epsilon": 1e-3, "weight_decay": 0.1},
    ),
    "rmsprop": (gn.optim.RMSprop, rmsprop, "RMSprop", {"learning_rate": 0.05}),
    "rmsprop, other options": (
        gn.optim.RMSprop,
        rmsprop,
        "RMSprop",
        {
            "learning_rate": 0.02,
            "rho": 0.9,
            "momentum": 0.5,
            "centered": True,
            "epsilon": 1e-2,
            "weight_decay": 0.1,
        },
    ),
    "adamax": (gn.optim.Adamax, adamax, "Adamax", {"learning_rate": 0.1, "weight_decay": 0.1}),
    "nadam": (gn.optim.NAdam, nadam, "NAdam", {"learning_rate": 0.1}),
    "nadam, decoupled": (
        gn.optim.NAdam,
        nadam,
        "NAdam",
        {"learning_rate": 0.1, "weight_decay": 0.2, "decoupled": True, "momentum_decay": 0.1},
    ),
    "rprop": (gn.optim.Rprop, rprop, "Rprop", {"learning_rate": 0.1}),
    "rprop, other options": (
        gn.optim.Rprop,
        rprop,
        "Rprop",
        {"learning_rate": 0.3, "shrink": 0.4, "grow": 1.5, "least": 1e-2, "most": 0.4},
    ),
    "lion": (gn.optim.Lion, lion, None, {"learning_rate": 0.05, "weight_decay": 0.1}),
}
THEIR_NAMES = {
    "learning_rate": "lr",
    "epsilon": "eps",
    "initial": "initial_accumulator_value",
    "decoupled": "decoupled_weight_decay",
}
START = np.array([[1.0, -2.0, 0.5], [3.0, 0.1, -1.5]])
TARGET = np.array([[0.5, 1.0, -1.0], [2.0, -0.3, 0.0]])


def gradient_of(p):
    """Of the loss below, by hand."""
    return 0.2 * (p - TARGET) ** 3 + 0.2 * p


def trained(optimizer, backend="numpy", dtype="float64"):
    """The parameter's value after each step."""
    p = gn.parameter(START, name="p", dtype=dtype)
    loss = 0.05 * gn.sum((p - TARGET.astype(dtype)) ** 4) + 0.1 * gn.sum(p**2)
    step = gn.compile([], loss, updates=optimizer.minimize(loss, [p]), backend=backend)
    values = []
    for _ in range(STEPS):
        step()
        values.append(p.value)
    return values


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_steps_follow_the_formula(case, backend):
    optimizer, formula, _, options = CASES[case]
    update, memory, expected = formula(**options), {}, START
    for number, value in enumerate(trained(optimizer(**options), backend), start=1):
        expected = update(expected, gradient_of(expected), memory, number)
        np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-11)


def options_of_torch(name, options):
    """The same options in PyTorch's words."""
    theirs = {THEIR_NAMES.get(key, key): value for key, value in options.items()}
    if "beta1" in theirs or "beta2" in theirs:
        theirs["betas"] = (theirs.pop("beta1", 0.9), theirs.pop("beta2", 0.999))
    if name == "RMSprop" and "rho" in theirs:
        theirs["alpha"] = theirs.pop("rho")
    if name == "Rprop" and "shrink" in theirs:
        theirs["etas"] = (theirs.pop("shrink"), theirs.pop("grow"))
        theirs["step_sizes"] = (theirs.pop("least"), theirs.pop("most"))
    return theirs


@pytest.fixture
def torch_in_float64():
    """PyTorch, whose NAdam keeps its product of momenta in the default dtype."""
    torch = pytest.importorskip("torch")
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(usual)


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][2]])
def test_steps_agree_with_pytorch(case, torch_in_float64):
    torch = torch_in_float64
    optimizer, _, name, options = CASES[case]
    p = torch.tensor(START, requires_grad=True)
    peer = getattr(torch.optim, name)([p], **options_of_torch(name, options))
    for value in trained(optimizer(**options)):
        peer.zero_grad()
        (0.05 * ((p - torch.from_numpy(TARGET)) ** 4).sum() + 0.1 * (p**2).sum()).backward()
        peer.step()
        np.testing.assert_allclose(value, p.detach().numpy(), rtol=1e-9, atol=1e-11)


def test_float32_keeps_the_first_steps_of_adam_exact():
    """1 - 0.999 written so in float32 would be off by 1e-5 of its value."""
    wide = trained(gn.optim.Adam(0.1))[:10]
    narrow = trained(gn.optim.Adam(0.1), dtype="float32")[:10]
    for value, expected in zip(narrow, wide, strict=True):
        np.testing.assert_allclose(value, expected, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_parameters_have_float32_slots(dtype):
    optimizer = gn.optim.Adam(0.1)
    values = trained(optimizer, dtype=dtype)
    ((p, slots),) = optimizer.slots.items()
    assert values[-1].dtype == p.dtype == gn.parameter(0.0, dtype=dtype).dtype
    assert {slot.dtype.name for slot in slots.values()} == {"float32"}
    expected = trained(gn.optim.Adam(0.1))[-1]
    np.testing.assert_allclose(values[-1].astype(np.float64), expected, atol=0.1)


def test_slots_are_named_and_not_trainable():
    w, b = gn.parameter([1.0, 2.0], name="layers.0.weight"), gn.parameter(0.5, name="bias")
    optimizer = gn.optim.Adam(0.1)
    updates = optimizer.minimize(gn.sum(w**2) * b, [w, b])
    assert [p.name for p in updates] == [
        "layers.0.weight",
        "layers.0.weight.first_moment",
        "layers.0.weight.second_moment",
        "bias",
        "bias.first_moment",
        "bias.second_moment",
        "Adam.step",
    ]
    assert [p.trainable for p in updates] == [True, False, False, True, False, False, False]
    assert all(gn.provenance(node).role == "update" for node in updates.values())


def test_state_belongs_to_the_optimizer():
    """A second program for the same parameters goes on where the first stopped."""
    values = []
    for programs in (1, 2):
        p = gn.parameter(START, dtype="float64")
        optimizer = gn.optim.Adam(0.1)
        loss = gn.sum(p**4)
        for _ in range(programs):
            step = gn.compile([], loss, updates=optimizer.minimize(loss, [p]))
            for _ in range(4 // programs):
                step()
        assert optimizer.step.value == 4
        values.append(p.value)
    np.testing.assert_array_equal(*values)


def test_the_learning_rate_may_be_a_parameter():
    rate = gn.parameter(0.5, name="rate", trainable=False)
    p = gn.parameter(1.0, name="p", dtype="float64")
    step = gn.compile([], p, updates=gn.optim.SGD(rate).minimize(p * 1.0, [p]))
    step()
    rate.value = 0.25
    step()
    assert p.value == 1.0 - 0.5 - 0.25


def test_the_learning_rate_may_follow_the_step():
    optimizer = gn.optim.SGD(1.0)
    optimizer.learning_rate = 1.0 / gn.cast(optimizer.step + 1, "float32")
    p = gn.parameter(0.0, name="p")
    step = gn.compile([], (), updates=optimizer.minimize(-p, [p]))
    for _ in range(3):
        step()
    np.testing.assert_allclose(p.value, 1 + 1 / 2 + 1 / 3, rtol=1e-6)


def test_gradients_may_be_changed_before_they_are_applied():
    p = gn.parameter(START, name="p")
    gradient = gn.grad(gn.sum(p**2), p)
    updates = gn.optim.SGD(1.0).apply({p: gn.clip(gradient, -0.5, 0.5)})
    gn.compile([], (), updates=updates)()
    np.testing.assert_allclose(p.value, START - np.clip(2 * START, -0.5, 0.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gn.optim.SGD(-0.1), "learning rate is -0.1, it must be 0 or more"),
        (lambda: gn.optim.SGD(float("nan")), "learning rate is nan"),
        (lambda: gn.optim.SGD(float("inf")), "learning rate is inf"),
        (lambda: gn.optim.SGD("fast"), "must be a number, not 'fast'"),
        (lambda: gn.optim.SGD(0.1, momentum=1.0), "momentum is 1.0, it must be from 0 to below 1"),
        (lambda: gn.optim.SGD(0.1, nesterov=True), "needs a momentum"),
        (lambda: gn.optim.Adam(0.1, beta2=-0.5), "beta2 is -0.5"),
        (lambda: gn.optim.AdamW(0.1, weight_decay=-1), "AdamW: weight decay is -1"),
    ],
)
def test_options_out_of_range_are_refused(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()


def test_a_learning_rate_node_is_one_float():
    with pytest.raises(ShapeError, match="one number"):
        gn.optim.SGD(gn.parameter([0.1, 0.2]))
    with pytest.raises(DTypeError, match="must be floating"):
        gn.optim.SGD(gn.parameter(1))


def test_parameters_that_cannot_be_trained_are_refused():
    w = gn.parameter(1.0, name="w")
    frozen = gn.parameter(1.0, name="frozen", trainable=False)
    x = gn.input("x")
    loss = w * frozen * x
    sgd = gn.optim.SGD(0.1)
    for parameters, words in [
        ([], "no parameters"),
        ([w, w], "w = parameter.*given twice"),
        ([w, frozen], "frozen = parameter.*not trainable"),
        ([w, x], "x = input.*not a parameter"),
        ([gn.parameter(1)], "not floating"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            sgd.minimize(loss, parameters)


def test_a_parameter_that_does_not_matter_is_named():
    w, unused = gn.parameter(1.0, name="w"), gn.parameter(1.0, name="unused")
    with pytest.raises(GradientError, match="unused") as caught:
        gn.optim.SGD(0.1).minimize(w**2, [w, unused])
    assert "leave it out" in str(caught.value)


def test_repr_is_short():
    assert repr(gn.optim.SGD(0.1)) == "SGD(0.1)"
    assert (
        repr(gn.optim.Adam(gn.parameter(0.1, name="r"))) == "Adam(<Node r = parameter () float32>)"
    )


# ------------------------------------------------------------------------------------ clipping


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_clipping_agrees_with_torch(backend, max_norm):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype("float32") for shape in ((), (5,), (3, 4))]
    inputs = [gn.input(f"g{each.ndim}", shape=each.shape) for each in arrays]
    outputs = [gn.optim.global_norm(inputs), *gn.optim.clip_by_global_norm(inputs, max_norm)]
    norm, *clipped = gn.compile(inputs, outputs, backend=backend)(*arrays)
    tensors = [torch.zeros(each.shape) for each in arrays]
    for tensor, each in zip(tensors, arrays, strict=True):
        tensor.grad = torch.tensor(each)
    expected = torch.nn.utils.clip_grad_norm_(tensors, max_norm)
    np.testing.assert_allclose(norm, expected.numpy(), rtol=1e-6)
    for got, tensor in zip(clipped, tensors, strict=True):
        np.testing.assert_allclose(got, tensor.grad.numpy(), rtol=5e-6)


def test_clipping_keeps_structure_dtypes_and_zeros():
    gradients = {
        "half": gn.constant([300.0, 400.0], "float16"),  # their squares are none
        "double": (gn.constant(0.0, "float64"),),
        "complex": [gn.constant([1200.0j], "complex64")],
    }
    clipped = gn.optim.clip_by_global_norm(gradients, 13.0)
    found = gn.evaluate([gn.optim.global_norm(gradients), clipped])
    assert (found[0].dtype.name, float(found[0])) == ("float64", 1300.0)
    values = found[1]
    assert values["half"].tolist() == [3.0, 4.0]
    assert values["half"].dtype == np.float16
    assert values["double"][0].dtype == np.float64
    np.testing.assert_allclose(values["complex"][0], [12.0j], rtol=1e-6)
    assert gn.evaluate(gn.optim.clip_by_global_norm(gn.constant([0.0]), 1.0)).tolist() == [0.0]


def test_clipping_of_gradients_that_overflow_takes_no_step_and_nan_stays():
    def clipped(*values):
        return gn.evaluate(gn.optim.clip_by_global_norm(gn.constant(values), 1.0))

    assert clipped(1e30, 1.0).tolist() == [0.0, 0.0]
    assert np.isnan(clipped(np.nan, 1.0)).all()


def test_clipping_has_derivatives():
    x = gn.input("x", shape=(3,), dtype="float64")
    clipped = gn.optim.clip_by_global_norm(gn.sin(x), 1.0)
    for scale in (0.1, 1.0):  # shorter and longer than 1
        gn.check_grads(clipped, {x: np.array([0.5, -1.2, 0.9]) * scale}, order=2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda g: gn.optim.clip_by_global_norm(g, 0.0), "max_norm is 0.0, it must be above 0"),
        (lambda g: gn.optim.clip_by_global_norm(g, -1.0), "max_norm is -1.0, it must be above 0"),
        (lambda g: gn.optim.clip_by_global_norm(g, np.inf), "max_norm is inf"),
        (lambda g: gn.optim.clip_by_global_norm([], 1.0), "there are no gradients"),
    ],
)
def test_clipping_refuses(call, words):
    with pytest.raises(ArgumentError, match=words):
        call(gn.constant([1.0]))


def test_minimizing_clips_before_it_steps():
    w, b = gn.parameter([30.0], name="w"), gn.parameter(40.0, name="b")
    loss = gn.sum(w**2 + b**2) / 2.0
    gn.compile([], loss, gn.optim.SGD(10.0).minimize(loss, [w, b], max_norm=1.0))()
    np.testing.assert_allclose([w.value[0], b.value], [24.0, 32.0], rtol=1e-6)
    with pytest.raises(ArgumentError, match="max_norm is 0"):
        gn.optim.SGD(1.0).minimize(loss, [w], max_norm=0)
