"""Weights from PyTorch and back: both sides compute the same."""

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import CheckpointError

torch = pytest.importorskip("torch")

DTYPE = "float64"


def outputs(model, arrays):
    inputs = [
        gn.input(f"x{n}", each.shape, "int64" if each.dtype == np.int64 else DTYPE)
        for n, each in enumerate(arrays)
    ]
    return gn.compile(inputs, model(*inputs), backend="reference")(*arrays)


def scrambled(module):
    """Values that tell every entry from every other one, running statistics among them."""
    generator = torch.Generator().manual_seed(0)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            low = 0.5 if name.endswith("running_var") else -0.5
            value.uniform_(low, low + 1.0, generator=generator)
    return module


def agree(ours, theirs, *arrays, first=lambda y: y):
    """From there: equal outputs. Back into an empty twin of theirs: equal outputs again."""
    ours.eval()
    scrambled(theirs.double()).eval()
    tensors = [torch.tensor(each) for each in arrays]
    with torch.no_grad():
        wanted = first(theirs(*tensors)).numpy()
        gn.io.from_torch(ours, theirs.state_dict())
        np.testing.assert_allclose(outputs(ours, arrays), wanted, rtol=1e-10, atol=1e-12)
        state = gn.io.to_torch(ours, theirs.state_dict())
        for value in theirs.state_dict().values():
            value.zero_()
        assert np.abs(first(theirs(*tensors)).numpy() - wanted).max() > 0.01
        theirs.load_state_dict(state)
        np.testing.assert_allclose(first(theirs(*tensors)).numpy(), wanted, rtol=1e-10, atol=1e-12)


def rand(*shape):
    return np.random.default_rng(1).uniform(-1.0, 1.0, shape)


def test_perceptron():
    nn = torch.nn
    ours = gn.nn.Sequential(
        gn.nn.Dense(5, 4, dtype=DTYPE), gn.nn.ReLU(), gn.nn.Dense(4, 3, bias=False, dtype=DTYPE)
    )
    agree(ours, nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3, bias=False)), rand(7, 5))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_convolutions(axes):
    ours = getattr(gn.nn, f"Conv{axes}d")(4, 6, 3, groups=2, stride=2, dtype=DTYPE)
    theirs = getattr(torch.nn, f"Conv{axes}d")(4, 6, 3, groups=2, stride=2)
    x = rand(2, 4, *(7, 6, 5)[:axes])
    agree(ours, theirs, x)
    ours = getattr(gn.nn, f"ConvTranspose{axes}d")(4, 6, 3, groups=2, stride=2, dtype=DTYPE)
    agree(ours, getattr(torch.nn, f"ConvTranspose{axes}d")(4, 6, 3, groups=2, stride=2), x)


def test_a_convolution_that_turns_its_kernel_round():
    """The kernel is turned round once more, so that both compute the same."""
    ours = gn.nn.Conv2d(2, 3, (2, 3), flip=True, dtype=DTYPE)
    agree(ours, torch.nn.Conv2d(2, 3, (2, 3)), rand(1, 2, 5, 5))


def test_a_network_of_pictures():
    nn = torch.nn
    ours = gn.nn.Sequential(
        gn.nn.Conv2d(1, 4, 3, dtype=DTYPE),
        gn.nn.BatchNorm(4, dtype=DTYPE),
        gn.nn.ReLU(),
        gn.nn.Sequential(gn.nn.Conv2d(4, 2, 3, padding=1, bias=False, dtype=DTYPE)),
        gn.nn.GroupNorm(2, 2, dtype=DTYPE),
        gn.nn.Flatten(),
        gn.nn.LayerNorm(72, dtype=DTYPE),
        gn.nn.Dense(72, 3, dtype=DTYPE),
    )
    theirs = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 2, 3, padding=1, bias=False)),
        nn.GroupNorm(2, 2),
        nn.Flatten(),
        nn.LayerNorm(72),
        nn.Linear(72, 3),
    )
    agree(ours, theirs, rand(3, 1, 8, 8))


RECURRENT = {
    "LSTM": lambda **o: gn.nn.LSTM(3, 5, **o),
    "GRU": lambda **o: gn.nn.GRU(3, 5, **o),
    "RNN": lambda **o: gn.nn.SimpleRNN(3, 5, **o),
}


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "bidirectional": True}, {"num_layers": 3}, {"bias": False}],
    ids=str,
)
def test_recurrent_nets(kind, options):
    ours = RECURRENT[kind](return_sequences=True, dtype=DTYPE, **options)
    theirs = getattr(torch.nn, kind)(3, 5, **options)
    agree(ours, theirs, rand(6, 2, 3), first=lambda made: made[0])


@pytest.mark.parametrize("sizes", [{}, {"kdim": 5, "vdim": 3}, {"bias": False}])
def test_attention(sizes):
    class Output(gn.nn.Module):
        def __init__(self):
            names = {"kdim": "key_features", "vdim": "value_features", "bias": "bias"}
            options = {names[name]: size for name, size in sizes.items()}
            self.part = gn.nn.MultiHeadAttention(6, 2, batch_first=True, dtype=DTYPE, **options)

        def forward(self, *arrays):
            return self.part(*arrays)[0]

    theirs = torch.nn.MultiheadAttention(6, 2, batch_first=True, **sizes)
    arrays = rand(2, 4, 6), rand(2, 5, sizes.get("kdim", 6)), rand(2, 5, sizes.get("vdim", 6))
    agree(Output(), theirs, *arrays, first=lambda y: y[0])


def test_a_stack_of_transformers_layers():
    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = torch.nn.Embedding(9, 6)
            self.blocks = torch.nn.TransformerEncoder(
                torch.nn.TransformerEncoderLayer(6, 2, 8, batch_first=True),
                2,
                enable_nested_tensor=False,
            )
            self.out_proj = torch.nn.Linear(6, 3)  # named like a part of their attention

        def forward(self, x):
            return self.out_proj(self.blocks(self.tokens(x)))

    layers = [gn.nn.TransformerLayer(6, 2, 8, batch_first=True, dtype=DTYPE) for _ in range(2)]
    ours = gn.nn.Sequential(
        gn.nn.Embedding(9, 6, dtype=DTYPE), *layers, gn.nn.Dense(6, 3, dtype=DTYPE)
    )
    agree(ours, Theirs(), np.random.default_rng(0).integers(0, 9, (3, 5)))


def test_an_lstm_with_projection():
    ours = gn.nn.LSTM(3, 5, projection=2, num_layers=2, return_sequences=True, dtype=DTYPE)
    theirs = torch.nn.LSTM(3, 5, proj_size=2, num_layers=2)
    agree(ours, theirs, rand(6, 2, 3), first=lambda made: made[0])


class Ours(gn.nn.Module):
    def __init__(self):
        self.table = gn.nn.Embedding(11, 3, dtype=DTYPE)
        self.encoder = gn.nn.GRU(3, 5, batch_first=True, dtype=DTYPE)
        self.head = gn.nn.Dense(5, 2, dtype=DTYPE)

    def forward(self, tokens):
        return self.head(self.encoder(self.table(tokens)))


class Theirs(torch.nn.Module):
    """Defined in another order: names decide, where they agree."""

    def __init__(self, names):
        super().__init__()
        self.names = names
        parts = [
            torch.nn.Embedding(11, 3),
            torch.nn.GRU(3, 5, batch_first=True),
            torch.nn.Linear(5, 2),
        ]
        pairs = list(zip(names, parts, strict=True))
        for name, part in reversed(pairs) if "head" in names else pairs:
            setattr(self, name, part)

    def forward(self, tokens):
        table, encoder, head = (getattr(self, name) for name in self.names)
        return head(encoder(table(tokens))[1][0])


@pytest.mark.parametrize("names", [("table", "encoder", "head"), ("a", "b", "c")])
def test_layers_are_paired_by_name_or_else_in_order(names):
    tokens = np.random.default_rng(0).integers(0, 11, (2, 6))
    agree(Ours(), Theirs(names), tokens)


def test_dtypes_and_arrays():
    theirs = torch.nn.Linear(3, 2).to(torch.bfloat16)
    ours = gn.nn.Dense(3, 2)
    gn.io.from_torch(ours, dict(theirs.named_parameters()))  # which are trained
    np.testing.assert_array_equal(ours.weight.value, theirs.weight.detach().float().numpy().T)
    assert gn.io.to_torch(ours, theirs.state_dict())["weight"].dtype == torch.bfloat16
    half = gn.nn.Dense(3, 2, dtype="bfloat16")
    gn.io.from_torch(half, theirs.state_dict())
    back = gn.io.to_torch(half, torch.nn.Linear(3, 2).state_dict())["weight"]
    assert back.dtype == torch.float32
    assert torch.equal(back, theirs.weight.float())
    arrays = {name: value.float().numpy() for name, value in theirs.state_dict().items()}
    gn.io.from_torch(ours, arrays)
    assert isinstance(gn.io.to_torch(ours, arrays)["bias"], np.ndarray)


def refused(ours, theirs):
    """The error's words; nothing is changed."""
    before = ours.state_dict()
    with pytest.raises(CheckpointError) as caught:
        gn.io.from_torch(ours, theirs.state_dict())
    for name, value in ours.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(CheckpointError):
        gn.io.to_torch(ours, theirs.state_dict())
    return str(caught.value)


def test_all_that_does_not_fit_is_listed():
    nn = torch.nn
    ours = gn.nn.Sequential(gn.nn.Dense(3, 4), gn.nn.BatchNorm(4), gn.nn.Dense(4, 2))
    words = refused(ours, nn.Sequential(nn.Linear(3, 5, bias=False), nn.Linear(4, 2)))
    for line in (
        "layers.0.weight: 0.weight (5, 3) does not fit (3, 4)",
        "layers.0.bias: there is no 0.bias",
        "layers.1.weight: 1.weight (2, 4) does not fit (4,)",
        "layers.1.running_mean: there is no 1.running_mean",
        "layers.2.weight: there is no 2.weight",
    ):
        assert line in words


@pytest.mark.parametrize(
    ("ours", "theirs", "line"),
    [
        (lambda: gn.nn.GRU(3, 4, form="concatenated"), lambda: torch.nn.GRU(3, 4), "known to be"),
        (lambda: gn.nn.LSTM(3, 4, peephole=True), lambda: torch.nn.LSTM(3, 4), "peephole_weight"),
        (lambda: gn.nn.LSTM(3, 4, coupled=True), lambda: torch.nn.LSTM(3, 4), "(16, 3) does not"),
        (
            lambda: gn.nn.LSTM(3, 4),
            lambda: torch.nn.LSTM(3, 4, 2),
            "unexpected: weight_hh_l1",
        ),
        (
            lambda: gn.nn.GRU(3, 4, learned_state=True),
            lambda: torch.nn.GRU(3, 4),
            "layers.0.initial_state: nothing there is known",
        ),
        (
            lambda: gn.nn.Elman(3, 4, 2),
            lambda: torch.nn.RNN(3, 4),
            "unexpected: weight_hh_l0",
        ),
    ],
)
def test_what_computes_something_else_is_refused(ours, theirs, line):
    assert line in refused(ours(), theirs())
