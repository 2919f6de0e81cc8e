"""What programs ask of a device, without one: places, arguments, recordings, and who may race."""

from dataclasses import replace

import numpy as np
import pytest
from checks import dtypes_of
from drawing import cases, draw, is_drawable
from native_oracle import convolutional, perceptron
from recording_device import RecordingDevice, races

import graphnn as gn
from graphnn.compiler import backends
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.compiler.cuda.code import Code, Matrices, Part, guarded
from graphnn.compiler.cuda.launches import STATUS, launches_of
from graphnn.core.errors import ArgumentError


@pytest.fixture
def device(monkeypatch):
    made = RecordingDevice()
    monkeypatch.setitem(backends.BACKENDS, "cupy", lambda unit: DeviceExecutable(unit, made))
    return made


def recurrent(dtype, backend):
    """A step of training an LSTM over an embedding, on labels."""
    words, label = gn.input("words", (6, 9), "int64"), gn.input("label", (9,), "int64")
    embedding, lstm, last = gn.nn.Embedding(7, 12), gn.nn.LSTM(12, 16), gn.nn.Dense(16, 7)
    loss = gn.losses.cross_entropy(last(lstm(embedding(words))), label)
    parameters = [p for m in (embedding, lstm, last) for p in m.parameters()]
    updates = gn.optim.Adam(1e-2).minimize(loss, parameters, max_norm=1.0)
    return gn.compile([words, label], loss, updates, backend=backend)


def zeros(program):
    return [np.zeros([int(n) for n in each.shape], each.dtype) for each in program.inputs]


@pytest.mark.parametrize("make", [perceptron, convolutional, recurrent])
def test_a_training_step_is_one_recording(make, device):
    program = make("float32", "cupy")
    feeds = zeros(program)
    program(*feeds)
    assert device.n_recordings == 0
    first = list(device.launched)
    assert first
    device.launched.clear()
    program(*feeds)
    assert device.n_recordings == 1
    assert device.launched == first
    device.launched.clear()
    n_allocated = len(device.memory)
    program(*feeds)
    assert device.launched == []
    assert device.n_recordings == 1
    assert len(device.memory) == n_allocated


@pytest.mark.parametrize("make", [perceptron, convolutional, recurrent])
def test_no_thread_writes_what_another_one_reads(make):
    assert races(make("float32", "cupy").unit) == []


def test_operations_launch_what_they_may(device):
    fitting = (each for each in cases() if "float32" in dtypes_of(each.operation))
    chosen = [each for each in fitting if is_drawable(each.sample, "float32")][::11]
    for case in chosen:
        drawn = draw(case.sample, "float32", case.generator())
        inputs = drawn.inputs()
        program = gn.compile(inputs, drawn.call(case.operation.function, inputs), backend="cupy")
        assert races(program.unit) == []
        program(*drawn.arrays)


def test_a_race_would_be_found():
    x = gn.input("x", (4, 4))
    unit = gn.compile(x, gn.tanh(x) + 1.0, backend="cupy").unit
    (only,) = unit.instructions
    assert races(unit) == []
    turned = replace(only.inputs[0], buffer=only.outputs[0].buffer, offset=4)
    assert races(replace(unit, instructions=(replace(only, inputs=(turned,)),))) == [only.label]


def test_a_recording_may_not_allocate(device):
    with pytest.raises(AssertionError, match="allocation while launches are recorded"):
        device.record(lambda: device.allocate(8))


# --------------------------------------------------------------------------------- guards


def with_labels(**updates):
    rows = gn.input("rows", (6,), dtype="int64")
    table = gn.parameter(np.ones((10, 4), "float32"))
    loss = gn.sum(gn.embedding(rows, table) ** 2)
    return gn.compile(rows, loss, {table: table - gn.grad(loss, table)}, backend="cupy")


def test_what_writes_state_looks_at_the_status_word_last():
    program = with_labels()
    steps, codes = launches_of(program.unit)
    written = {view.buffer for view in program.unit.instructions[-1].outputs}
    committing = [
        launch for step in steps for launch in step.launches
        if written & {each.buffer for each in launch.places}
    ]  # fmt: skip
    assert any(launch.places[-1] == STATUS for launch in committing)
    assert any("*(const i64*)refused" in each.source for each in codes)


def test_without_anything_to_refuse_nothing_is_guarded():
    x, w = gn.input("x", (6,)), gn.parameter(np.ones(6, "float32"))
    _, codes = launches_of(gn.compile(x, (), {w: w + x}, backend="cupy").unit)
    assert codes
    assert not any("refused" in each.source for each in codes)


def test_a_guarded_function_has_one_parameter_more():
    head = 'extern "C" __global__ void __launch_bounds__(32) f(char* p0) {\n'
    code = Code(head + "    *(int*)p0 = 1;\n}\n", (Part("f", 1, 32),), 7)
    assert guarded(code) == Code(
        'extern "C" __global__ void __launch_bounds__(32) f(char* p0, char* refused) {\n'
        "    if (*(const i64*)refused) return;\n    *(int*)p0 = 1;\n}\n",
        (Part("f", 1, 32),),
        7,
    )


# --------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"launch": "later"}, "no way to launch 'later'"),
        ({"matmul_precision": "float8"}, "no precision of products 'float8'"),
    ],
)
def test_options_that_there_are_not(options, words):
    x = gn.input("x", (3,))
    with pytest.raises(ArgumentError, match=words):
        gn.compile(x, gn.exp(x), **options)


def test_kernels_of_many_operands_are_launched_in_parts(device):
    xs = [gn.input(f"x{n}", (5,)) for n in range(600)]
    total = xs[0]
    for each in xs[1:]:
        total = total + each
    ws = [gn.parameter(np.ones(5, "float32")) for _ in range(150)]
    updates = {each: each - n * xs[n] for n, each in enumerate(ws)}
    outputs = [total, gn.concatenate(xs), *(gn.sum(each) for each in xs)]
    program = gn.compile(xs, outputs, updates, backend="cupy")
    program(*zeros(program))
    assert sum(len(each.addresses) for each in device.launched) > 2000  # 512 fit in one launch


def test_debugging_names_the_instruction_that_fails(device, monkeypatch):
    x = gn.input("x", (3,))
    program = gn.compile(x, gn.exp(x), backend="cupy", launch="debug")
    monkeypatch.setattr(device, "wait", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        program([1.0, 2.0, 3.0])
    assert "exp" in caught.value.__notes__[0]
    assert "test_launches.py" in caught.value.__notes__[1]


def test_precision_reaches_the_products(device):
    x, w = gn.input("x", (8, 16)), gn.parameter(np.ones((16, 4), "float32"))
    asked = []
    product = device.product
    device.product = lambda matrices, precision: asked.append(precision) or product(matrices, "")
    gn.compile(x, x @ w, backend="cupy", matmul_precision="tf32")(np.ones((8, 16), "float32"))
    assert asked == ["tf32"]
    assert any(isinstance(each.does, Matrices) for each in device.launched)


@pytest.mark.parametrize(("rows", "is_product"), [(1 << 20, True), (1 << 31, False)])
def test_products_of_more_than_cublas_can_count_are_kernels(rows, is_product):
    x, w = gn.input("x", (rows, 2)), gn.input("w", (2, 3))
    program = gn.compile([x, w], x @ w, backend="cupy", verify=False)  # which would walk it
    (step,), _ = launches_of(program.unit)
    assert isinstance(step.launches[0].does, Matrices) is is_product
