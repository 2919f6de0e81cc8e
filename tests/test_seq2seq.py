"""Encoders and decoders against plain NumPy, and what they learn."""

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, ShapeError

LETTERS, SOUNDS, EMBEDDING, HIDDEN = 7, 6, 3, 4
SOURCE = np.array([[3, 4, 5, 6], [5, 3, 0, 0], [6, 6, 4, 0]])
LENGTHS = np.array([4, 2, 3])
TARGET = np.array([[1, 3, 4, 5, 2], [1, 4, 2, 0, 0], [1, 5, 3, 2, 0]])
START, END = 1, 2


@pytest.fixture(autouse=True)
def _seeded():
    gn.seed(0)


def model_of(
    attention="dot", *, bridge=True, feeding=False, net=gn.nn.LSTM, layers=1, both=False, **options
):
    encoder = gn.nn.Encoder(
        LETTERS,
        EMBEDDING,
        HIDDEN,
        net=net,
        num_layers=layers,
        bidirectional=both,
        dtype="float64",
        **options,
    )
    memory = HIDDEN * (1 + both)
    scores = {
        "dot": lambda: gn.nn.DotAttention(HIDDEN, memory, dtype="float64"),
        "additive": lambda: gn.nn.AdditiveAttention(HIDDEN, memory, 5, dtype="float64"),
        None: lambda: None,
    }[attention]()
    decoder = gn.nn.Decoder(
        SOUNDS,
        EMBEDDING,
        HIDDEN,
        net=net,
        num_layers=layers,
        attention=scores,
        input_feeding=feeding,
        dtype="float64",
        **options,
    )
    return gn.nn.EncoderDecoder(encoder, decoder, bridge=bridge)


VARIANTS = {
    "a fixed vector": {"attention": None, "bridge": False, "layers": 2},
    "dot": {"both": True},
    "additive, fed": {"attention": "additive", "feeding": True, "layers": 2, "net": gn.nn.GRU},
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)


# ------------------------------------------------------------------------- formulas, in NumPy


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm(p, path, carry, x):
    h, c = carry
    sums = x @ p[f"{path}.input_weight"] + h @ p[f"{path}.recurrent_weight"] + p[f"{path}.bias"]
    i, f, g, o = np.split(sums, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return (h, c), h


def over(p, path, xs):
    """A direction of the encoder over one sequence: all outputs, and the last state."""
    carry, made = (np.zeros(HIDDEN), np.zeros(HIDDEN)), []
    for x in xs:
        carry, y = lstm(p, path, carry, x)
        made.append(y)
    return np.array(made), carry


def plain_logits(p, source, target):
    """One sequence through the bidirectional encoder and the decoder with general attention."""
    xs = p["encoder.embedding.weight"][source]
    layer = "encoder.net.layers.0"
    ahead, last = over(p, f"{layer}.forward_layer.cell", xs)
    back, first = over(p, f"{layer}.backward_layer.cell", xs[::-1])
    memory = np.concatenate([ahead, back[::-1]], 1)
    state = np.concatenate([*last, *first])
    made = np.tanh(state @ p["bridge.weight"] + p["bridge.bias"])
    carry, rows = (made[:HIDDEN], made[HIDDEN:]), []
    for token in target:
        x = p["decoder.embedding.weight"][token]
        carry, h = lstm(p, "decoder.cells.0", carry, x)
        powers = np.exp(memory @ (h @ p["decoder.attention.weight"]))
        context = powers @ memory / powers.sum()
        seen = np.concatenate([h, context]) @ p["decoder.combine.weight"]
        seen = np.tanh(seen + p["decoder.combine.bias"])
        rows.append(seen @ p["decoder.output.weight"] + p["decoder.output.bias"])
    return np.array(rows), powers / powers.sum()


def compiled(model, make):
    """What a function of sources, targets and lengths gives."""
    source, target = (
        gn.input(name, ("batch", time), "int64")
        for name, time in (("source", "letters"), ("target", "sounds"))
    )
    lengths = gn.input("lengths", ("batch",), "int64")
    # What a net computes; that its native code computes the same, the nets that learn show.
    return gn.compile([source, target, lengths], make(source, target, lengths), native="never")


def test_the_whole_net_is_that_of_the_formulas_and_padding_changes_nothing():
    model = model_of(both=True)
    program = compiled(model, lambda s, t, n: (model(s, t, n), model.alignments(s, t, n)))
    logits, alignments = program(SOURCE, TARGET, LENGTHS)
    p = model.state_dict()
    for row, length in enumerate(LENGTHS):
        wanted, last = plain_logits(p, SOURCE[row, :length], TARGET[row])
        np.testing.assert_allclose(logits[row], wanted, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(alignments[row, -1, :length], last, rtol=1e-12, atol=1e-14)
        assert np.all(alignments[row, :, length:] == 0)
    wild = np.where(np.arange(4) < LENGTHS[:, None], SOURCE, 6)
    np.testing.assert_array_equal(program(wild, TARGET, LENGTHS)[0], logits)


@each_variant
def test_a_single_step_is_that_of_teacher_forcing(variant):
    """A decoder that is fed the right tokens step by step gives what the scan gives."""
    model = model_of(**VARIANTS[variant])

    def make(source, target, lengths):
        logits = gn.log_softmax(model(source, target, lengths))
        step, state = model.decoding(source, lengths)
        rows = []
        for number in range(TARGET.shape[1]):
            row, state = step(state, target[:, number])
            rows.append(row)
        return logits, gn.stack(rows, 1)

    logits, rows = compiled(model, make)(SOURCE, TARGET, LENGTHS)
    np.testing.assert_allclose(rows, logits, rtol=1e-12, atol=1e-14)
    assert np.ptp(logits, axis=0).max() > 1e-3  # the source matters


@each_variant
def test_derivatives_against_differences(variant):
    model = model_of(**VARIANTS[variant])
    source, target = gn.constant(SOURCE), gn.constant(TARGET)
    logits = model(source, target[:, :-1], LENGTHS)
    loss = gn.losses.sequence_cross_entropy(logits, target[:, 1:], np.array([4, 2, 3]))
    names = ("encoder.embedding.weight", "decoder.cells.0.recurrent_weight")
    chosen = [dict(model.named_parameters())[name] for name in names]
    program = gn.compile([], (loss, gn.grad(loss, chosen)))
    _, slopes = program()
    rng = np.random.default_rng(0)
    for parameter, slope in zip(chosen, slopes, strict=True):
        value = parameter.value
        direction = rng.normal(size=value.shape)
        sides = []
        for sign in (1, -1):
            parameter.value = value + sign * 6e-6 * direction
            sides.append(float(program()[0]))
        parameter.value = value
        np.testing.assert_allclose(
            np.sum(slope * direction), (sides[0] - sides[1]) / 12e-6, rtol=1e-7, atol=1e-9
        )


RATES = [
    {"embedding_dropout": 0.5},
    {"dropout": 0.5},
    {"output_dropout": 0.5},
    {"recurrent_dropout": 0.5},
]


@pytest.mark.parametrize("options", RATES, ids=lambda each: next(iter(each)))
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_dropout_is_for_training(kind, options):
    make = gn.nn.Encoder if kind == "encoder" else gn.nn.Decoder
    net = make(SOUNDS, EMBEDDING, HIDDEN, num_layers=2, **options)
    first = (lambda given: given[0]) if kind == "encoder" else (lambda given: given)
    for training in (True, False):
        program = gn.compile([], first(net.train(training)(TARGET)))
        assert np.array_equal(program(), program()) is not training


def test_dropout_between_layers_is_drawn_for_every_step_and_recurrent_dropout_once():
    """Cells that pass their input on show what they get; the state shows what it loses."""

    class Through(gn.nn.Cell):
        def __init__(self, in_features, hidden_features, **options):
            self.in_features = self.hidden_features = self.out_features = in_features

        def zero_state(self, batch):
            return gn.zeros((batch, self.in_features))

        def forward(self, carry, x):
            return carry, x

    class Net(gn.nn.RecurrentNet):
        cell_type = Through

    decoder = gn.nn.Decoder(2, 8, 8, net=Net, num_layers=2, dropout=0.5)
    decoder.embedding.weight.value = np.ones((2, 8), "float32")
    decoder.output.weight.value = np.eye(8, 2, dtype="float32")
    seen = gn.evaluate(decoder(np.zeros((16, 12), "int64")))
    assert set(np.unique(seen)) == {0.0, 2.0}
    assert np.ptp(seen, axis=0).max() == np.ptp(seen, axis=1).max() == 2.0

    # A state that holds on to ones: what it loses is 0 at all steps, or none.
    decoder = gn.nn.Decoder(
        2, 8, 8, net=gn.nn.SimpleRNN, recurrent_dropout=0.5, activation=gn.linear
    )
    values = {"cells.0.input_weight": np.zeros((8, 8)), "cells.0.recurrent_weight": np.eye(8)}
    values["output.weight"] = np.eye(8, 2)
    decoder.load_state_dict(decoder.state_dict() | values)
    seen = gn.evaluate(decoder(np.zeros((16, 4), "int64"), (gn.ones((16, 8)),)))
    assert {tuple(row) for row in seen[:, :, 0]} == {(2.0, 4.0, 8.0, 16.0), (0.0,) * 4}


def test_a_decoding_step_drops_nothing_in_training_mode():
    decoder = gn.nn.Decoder(SOUNDS, EMBEDDING, HIDDEN, num_layers=2, **(RATES[1] | RATES[3]))
    step, state = decoder.decoding(decoder.zero_state(3))
    program = gn.compile([], step(state, gn.constant(TARGET[:, 0]))[0])
    np.testing.assert_array_equal(program(), program())


def test_cells_may_give_another_size_than_their_state():
    """With attention and both directions, trained and decoded: the shapes fit, and so do scores."""
    encoder = gn.nn.Encoder(LETTERS, EMBEDDING, HIDDEN, projection=3, bidirectional=True)
    attention = gn.nn.DotAttention(3, 6)
    decoder = gn.nn.Decoder(
        SOUNDS, EMBEDDING, HIDDEN, projection=3, num_layers=2, attention=attention
    )
    model = gn.nn.EncoderDecoder(encoder, decoder)
    step, state = model.decoding(SOURCE, LENGTHS)
    scores, _ = step(state, gn.constant(TARGET[:, 0]))
    logits = gn.log_softmax(model(SOURCE, TARGET, LENGTHS))[:, 0]
    one, other = gn.compile([], (scores, logits))()
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_mask_is_as_lengths():
    model = model_of("additive", feeding=True, both=True)
    mask = np.arange(SOURCE.shape[1]) < LENGTHS[:, None]

    def results(**real):
        step, state = model.decoding(SOURCE, **real)
        return (
            model(SOURCE, TARGET, **real),
            model.alignments(SOURCE, TARGET, **real),
            gn.nn.greedy(step, state, START, END, 3).scores,
        )

    by_lengths, by_mask = gn.compile(
        [], (results(source_lengths=LENGTHS), results(source_mask=mask)), native="never"
    )()
    for one, other in zip(by_lengths, by_mask, strict=True):
        np.testing.assert_array_equal(one, other)


def test_parameters_are_named_by_the_whole_net_and_nothing_is_drawn_before_a_call():
    encoder = gn.nn.Encoder(LETTERS, EMBEDDING, HIDDEN, output_dropout=0.5)
    decoder = gn.nn.Decoder(SOUNDS, EMBEDDING, HIDDEN)
    gn.seed(1)
    model = gn.nn.EncoderDecoder(encoder, decoder, bridge=False)
    drawn = gn.evaluate(gn.random.uniform())
    gn.seed(1)
    assert drawn == gn.evaluate(gn.random.uniform())
    model(SOURCE, TARGET)
    names = {each.name for each in model.parameters()}
    assert {
        "encoder.embedding.weight",
        "decoder.embedding.weight",
        "encoder.net.layers.0.cell.bias",
    } <= names


def test_how_they_look():
    encoder = gn.nn.Encoder(9, 3, 4, net=gn.nn.GRU, num_layers=2, dropout=0.5, bidirectional=True)
    decoder = gn.nn.Decoder(9, 3, 4, attention=gn.nn.DotAttention(4, 8), activation=gn.relu)
    one = "Encoder(9, 3, 4, net=GRU, num_layers=2, dropout=0.5, bidirectional=True)"
    other = "Decoder(9, 3, 4, attention=DotAttention(4, 8), activation=relu)"
    assert repr(gn.nn.EncoderDecoder(encoder, decoder)) == f"EncoderDecoder({one}, {other})"
    plain = [each(9, 3, 4) for each in (gn.nn.Encoder, gn.nn.Decoder)]
    wanted = "EncoderDecoder(Encoder(9, 3, 4), Decoder(9, 3, 4), bridge=False)"
    assert repr(gn.nn.EncoderDecoder(*plain, bridge=False)) == wanted


@pytest.mark.parametrize("attention", ["dot", "additive"])
def test_the_state_and_its_gradient_have_their_names_at_every_step(attention):
    model = model_of(attention, net=gn.nn.GRU, feeding=attention == "additive")
    source, target = (gn.input(name, (2, 3), dtype="int64") for name in ("source", "target"))
    loss = gn.mean(model(source, target) ** 2)
    graph = gn.Graph((source, target), (loss, *gn.grad(loss, model.parameters())))
    shown = [node.label for node in gn.render(graph).scene.nodes]
    for step in range(3):  # of the encoder, and of the decoder
        assert shown.count(f"h[{step}]") == 2
        assert shown.count(f"∂h[{step}]") == 2


def test_beams_and_greedy_of_a_net():
    model = model_of("additive", feeding=True, both=True)

    def make(source, target, lengths):
        step, state = model.decoding(source, lengths)
        return (
            gn.nn.greedy(step, state, START, END, 6),
            gn.nn.beam_search(step, state, START, END, 3, 6),
            gn.nn.beam_search(step, state, START, END, 1, 6),
        )

    greedy, beam, narrow = compiled(model, make)(SOURCE, TARGET, LENGTHS)
    np.testing.assert_array_equal(narrow.tokens[:, 0], greedy.tokens)
    np.testing.assert_allclose(narrow.scores[:, 0], greedy.scores, rtol=1e-12)
    # Scores are those of the tokens, by teacher forcing; what follows the end counts nothing.
    score = compiled(model, lambda s, t, n: gn.log_softmax(model(s, t, n)))
    for each in range(3):
        tokens = beam.tokens[:, each]
        given = np.concatenate([np.full((3, 1), START), tokens[:, :-1]], 1)
        chances = np.take_along_axis(score(SOURCE, given, LENGTHS), tokens[..., None], -1)[..., 0]
        counted = np.arange(6) <= beam.lengths[:, each, None]
        np.testing.assert_allclose(beam.scores[:, each], (chances * counted).sum(1), rtol=1e-12)


@pytest.mark.parametrize("attention", [None, "dot"])
def test_training_is_one_scan_each_and_what_no_cell_needs_is_computed_for_all_steps(attention):
    model = model_of(attention)
    program = gn.compile([], model(gn.constant(SOURCE), gn.constant(TARGET)))
    assert [loop.count for loop in program.loops] == [4, 5]
    ranges = [range(loop.begin, loop.end) for loop in program.loops]
    inside = [program.instructions[number].label for each in ranges for number in each]
    # A product with the state, and the gates: no attention, no output layer.
    assert len(inside) == 4
    assert sum("matmul" in label for label in inside) == 2


@pytest.mark.parametrize("variant", ["a fixed vector", "dot"])
def test_it_learns_to_turn_sequences_around(variant):
    """The loss falls to nearly nothing, and greedy decoding gives the reversed source."""
    model = model_of(**VARIANTS[variant] | {"layers": 1})
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 4, 64)
    source = rng.integers(3, SOUNDS, (64, 3)) * (np.arange(3) < lengths[:, None])
    turned = [[START, *row[:n][::-1], END] for row, n in zip(source, lengths, strict=True)]
    target, counts = gn.data.pad_sequences(turned, 5, batch_first=True)
    x, y, n = gn.constant(source), gn.constant(target), gn.constant(lengths)
    loss = gn.losses.sequence_cross_entropy(model(x, y[:, :-1], n), y[:, 1:], counts - 1)
    step = gn.compile([], loss, gn.optim.Adam(3e-2).minimize(loss, model.parameters()))
    losses = [float(step()) for _ in range(400)]
    assert losses[0] > 1.5
    assert losses[-1] < 0.15
    found = gn.compile([], gn.nn.greedy(*model.eval().decoding(x, n), START, END, 4))()
    right = [
        row[:count].tolist() == wanted[1:-1]
        for row, count, wanted in zip(found.tokens, found.lengths, turned, strict=True)
    ]
    assert np.mean(right) > 0.9


# ------------------------------------------------------------------------- loss and mistakes


def test_the_loss_is_the_mean_over_real_tokens():
    rng = np.random.default_rng(0)
    logits, labels, lengths = rng.normal(size=(3, 4, 5)), rng.integers(0, 5, (3, 4)), [4, 1, 0]
    terms = [
        np.log(np.exp(logits[row, step]).sum()) - logits[row, step, labels[row, step]]
        for row in range(3)
        for step in range(lengths[row])
    ]
    for reduction, wanted in (("mean", np.mean(terms)), ("sum", np.sum(terms))):
        loss = gn.losses.sequence_cross_entropy(logits, labels, lengths, reduction=reduction)
        np.testing.assert_allclose(gn.evaluate(loss), wanted, rtol=1e-12)
    each = gn.losses.sequence_cross_entropy(logits, labels, lengths, reduction="none")
    assert np.count_nonzero(gn.evaluate(each)) == 5
    x = gn.input("x", logits.shape, "float64")
    slope = gn.grad(gn.losses.sequence_cross_entropy(x, labels, lengths), x)
    assert np.all(gn.evaluate(slope, {x: logits})[1:, 1:] == 0)


def test_mistakes_are_told():
    decoder = gn.nn.Decoder(SOUNDS, EMBEDDING, HIDDEN, attention=gn.nn.DotAttention(HIDDEN))
    tokens = gn.constant(TARGET)
    with pytest.raises(ArgumentError, match="attention needs a memory"):
        decoder(tokens)
    with pytest.raises(ShapeError, match=r"tokens must be \(batch, time\), not \(5,\)"):
        decoder(tokens[0])
    with pytest.raises(ShapeError, match=r"queries have 4 features,.* DotAttention\(3\) takes 3"):
        gn.nn.Decoder(SOUNDS, EMBEDDING, HIDDEN, attention=gn.nn.DotAttention(3))
    with pytest.raises(
        ShapeError, match=r"the memory has 8 features, DotAttention\(4\) takes keys"
    ):
        gn.nn.EncoderDecoder(gn.nn.Encoder(9, 3, 4, bidirectional=True), decoder)
    with pytest.raises(ShapeError, match=r"the memory must be \(time, batch, features\), not"):
        decoder(tokens, memory=np.zeros((3, 4)))
    with pytest.raises(
        ArgumentError, match=r"layer of attention, not 'dot'\n.*\n *hint: .*DotAttention"
    ):
        gn.nn.Decoder(SOUNDS, EMBEDDING, HIDDEN, attention="dot")
    with pytest.raises(ArgumentError, match="there is no context to feed"):
        gn.nn.Decoder(SOUNDS, EMBEDDING, HIDDEN, input_feeding=True)
    with pytest.raises(ArgumentError, match=r"a state of \[4, 4, 4, 4\].*one of \[4, 4\]"):
        model_of(bridge=False, both=True)
    with pytest.raises(ArgumentError, match="has no attention"):
        model_of(None).alignments(SOURCE, TARGET)
    with pytest.raises(ShapeError, match=r"lengths must be \(2,\), one for each row, not \(3,\)"):
        gn.losses.sequence_cross_entropy(np.zeros((2, 3, 4)), np.zeros((2, 3), int), [1, 2, 3])


@pytest.mark.parametrize("make", [gn.nn.Encoder, gn.nn.Decoder])
def test_mistakes_of_both_are_told(make):
    letters = gn.data.Vocabulary("abc")
    with pytest.raises(ArgumentError, match=r"not <Vocabulary.*>\n.*\n *hint: len\(vocabulary\)"):
        make(letters, EMBEDDING, HIDDEN)
    for net in (gn.nn.LSTMCell, "LSTM", gn.nn.LSTM(3, 4)):
        with pytest.raises(
            ArgumentError, match=r"net must be a kind of recurrent nets, not .*LSTM"
        ):
            make(SOUNDS, EMBEDDING, HIDDEN, net=net)
    with pytest.raises(ArgumentError, match=r"there is one layer\n.*\n *hint: embedding_dropout="):
        make(SOUNDS, EMBEDDING, HIDDEN, dropout=0.5)


@pytest.mark.parametrize("name", ["batch_first", "return_sequences", "return_state", "stateful"])
def test_an_encoder_has_no_options_that_change_what_it_gives(name):
    with pytest.raises(ArgumentError, match=f"{name} is not for an encoder"):
        gn.nn.Encoder(LETTERS, EMBEDDING, HIDDEN, **{name: True})
