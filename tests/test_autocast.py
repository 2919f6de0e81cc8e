"""Mixed precision: what is computed in half floats, that training in it agrees, and overflows."""

from collections import Counter

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError
from graphnn.core.graph import topological_order

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
T = (X @ RNG.normal(size=(6, 3))).argmax(axis=1)
HALVES = ("bfloat16", "float16")


def dtypes_of(outputs, *ops):
    """How many nodes of some operators are of which dtype, also within bodies."""
    found = Counter()
    for node in topological_order(outputs):
        for name in node.op.body_attrs:
            found += dtypes_of(node.attrs[name].outputs, *ops)
        if node.op.name in ops:
            found[node.op.name, node.dtype.name] += 1
    return found


def network():
    gn.seed(0)
    return gn.nn.Sequential(
        gn.nn.Dense(6, 16), gn.nn.Tanh(), gn.nn.LayerNorm(16), gn.nn.Dense(16, 3)
    )


# ------------------------------------------------------------------------------ what is cast


@pytest.mark.parametrize("half", HALVES)
def test_products_and_what_follows_them_are_half(half):
    x = gn.input("x", shape=("batch", 6))
    y = gn.autocast({"y": gn.softmax(network()(x))}, half)["y"]
    assert y.dtype == "float32"
    assert dtypes_of([y], "dot_general", "tanh", "softmax", "layer_norm") == {
        ("dot_general", half): 2,
        ("tanh", half): 1,
        ("layer_norm", "float32"): 1,
        ("softmax", "float32"): 1,
    }


def test_operators_say_themselves_what_they_are_computed_in():
    x, w = gn.input("x", shape=(4, 4)), gn.parameter(np.ones((4, 4)), dtype="float32")
    product = x @ w
    wide = [gn.exp(product), gn.polygamma(2, product), gn.complex(product, product)]
    names = "exp", "polygamma", "complex"
    found = dtypes_of(gn.autocast([*wide, gn.abs(product)]), *names, "abs", "dot_general")
    assert found == {
        ("exp", "float32"): 1,
        ("polygamma", "float32"): 1,
        ("complex", "complex64"): 1,
        ("abs", "bfloat16"): 1,
        ("dot_general", "bfloat16"): 1,
    }


def test_what_is_float32_already_stays_and_so_do_other_dtypes():
    x = gn.input("x", shape=(4,))
    w = gn.parameter(np.ones((4, 4)), dtype="float32")
    assert gn.autocast(gn.exp(x) + 1.0) is gn.exp(x) + 1.0
    mixed = gn.autocast(gn.tanh(x @ w) * gn.exp(x))  # float32 is what a half float gives way to
    assert dtypes_of([mixed], "tanh", "multiply") == {
        ("tanh", "bfloat16"): 1,
        ("multiply", "float32"): 1,
    }
    wide = gn.input("wide", shape=(4, 4), dtype="float64")
    assert gn.autocast(wide @ wide) is wide @ wide
    own = gn.cast(x, "float16")
    assert gn.autocast(own * own, "bfloat16") is own * own


def test_statistics_that_are_kept_are_float32():
    model = gn.nn.Sequential(gn.nn.Dense(6, 4), gn.nn.BatchNorm(4))
    model(gn.input("x", shape=("batch", 6)))
    states = model.state_updates()
    cast = gn.autocast(list(states.values()))
    assert {each.dtype.name for each in cast} == {"float32"}
    tensors = [each for each in topological_order(cast) if isinstance(each.spec, gn.TensorSpec)]
    half = {each.op.name for each in tensors if each.dtype == "bfloat16"}
    assert half == {"cast", "dot_general", "add"}  # those of the layer before


def test_bodies_of_loops_and_branches():
    w = gn.parameter(np.eye(3) * 0.5, dtype="float32")
    x = gn.input("x", shape=(5, 3))
    carry, ys = gn.scan(lambda h, each: (h @ w + each,) * 2, gn.zeros(3), x)
    chosen = gn.cond(gn.sum(x) < 1e6, lambda: x @ w, lambda: x)
    cast = gn.autocast([carry, ys, chosen])
    assert dtypes_of(cast, "dot_general") == {("dot_general", "bfloat16"): 2}
    assert [each.dtype.name for each in cast] == ["float32"] * 3
    feed = {x: RNG.normal(size=(5, 3)).astype("float32")}
    for one, other in zip(
        gn.evaluate([carry, ys, chosen], feed), gn.evaluate(cast, feed), strict=True
    ):
        np.testing.assert_allclose(other, one, atol=0.05)
        assert np.abs(other - one).max() > 0


def test_autocast_refuses():
    with pytest.raises(DTypeError, match="float32 is no half float"):
        gn.autocast(gn.zeros(3), "float32")
    with pytest.raises(ArgumentError, match=r"autocast: 2\.0 is no node"):
        gn.autocast([2.0])
    with pytest.raises(ArgumentError, match="precision"):
        gn.train.Trainer(network(), gn.losses.mse, gn.optim.SGD(), precision="half")


# ----------------------------------------------------------------------------------- training


@pytest.mark.parametrize("precision", HALVES)
def test_training_agrees_with_pytorch(precision):
    """The same start, and 30 steps as ``torch.autocast`` makes them."""
    torch = pytest.importorskip("torch")
    model = network()
    twin = torch.nn.Sequential(
        torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.LayerNorm(16), torch.nn.Linear(16, 3)
    )
    state = gn.io.to_torch(model, twin.state_dict())
    twin.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.2)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "float16")
    x, t, expected = torch.as_tensor(X), torch.as_tensor(T), []
    for _ in range(30):
        optimizer.zero_grad()
        dtype = getattr(torch, precision)
        with torch.autocast("cpu", dtype=dtype):
            loss = torch.nn.functional.cross_entropy(twin(x), t)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        expected.append(loss.item())
    trainer = gn.train.Trainer(
        model, gn.losses.cross_entropy, gn.optim.SGD(0.2), precision=precision
    )
    history = trainer.fit([(X, T)], 30, verbose=0)
    assert expected[-1] < 0.3 * expected[0]
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}[precision]
    np.testing.assert_allclose(history["loss"], expected, rtol=tolerance)
    assert {each.dtype.name for each in model.parameters()} == {"float32"}


def test_backends_agree():
    losses = [
        gn.train.Trainer(
            network(),
            gn.losses.cross_entropy,
            gn.optim.Adam(0.02),
            precision="bfloat16",
            backend=each,
        ).fit([(X, T)], 5, verbose=0)["loss"]
        for each in ("reference", "numpy")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-2)


def test_steps_that_overflow_are_skipped_and_the_scale_is_halved():
    model = network()
    scaled = gn.optim.LossScale(gn.optim.SGD(0.1), 2.0**30)
    trainer = gn.train.Trainer(model, gn.losses.cross_entropy, scaled, precision="float16")
    assert trainer.optimizer is scaled
    before = model.state_dict()
    trainer.fit([(X, T)], 1, verbose=0)
    assert float(scaled.scale.value) == 2.0**29
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    trainer.fit([(X, T)], 19, verbose=0)
    scale = float(scaled.scale.value)
    assert 2.0**10 < scale < 2.0**29
    assert int(scaled.finite_steps.value) > 0
    assert not np.array_equal(model.state_dict()["layers.0.weight"], before["layers.0.weight"])
    assert np.log2(scale) == 30 - (20 - int(scaled.finite_steps.value))


def test_trainers_scale_the_loss_for_float16_alone():
    for precision, kind in (("float16", gn.optim.LossScale), ("bfloat16", gn.optim.SGD)):
        trainer = gn.train.Trainer(
            network(), gn.losses.cross_entropy, gn.optim.SGD(0.1), precision=precision
        )
        assert type(trainer.optimizer) is kind
