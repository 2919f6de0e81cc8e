"""The GPU by CuPy, on a fake of it: memory, order, recordings, refusals, what is missing."""

import gc
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from fake_cupy import FakeCupy, build, libraries

import graphnn as gn
from graphnn.compiler import backends
from graphnn.compiler.backends import on_device
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.compiler.cuda import cupy_device, device_constants, requirements, staging
from graphnn.compiler.cuda.code import Matrices, Matrix
from graphnn.compiler.cuda.cupy_device import CupyDevice
from graphnn.compiler.cuda.requirements import require_gpu
from graphnn.core.errors import DeviceError, FeedError, MissingPackageError


@pytest.fixture(params=[False, True], ids=["forward", "reversed"])
def cupy(request, monkeypatch):
    """The fake, as what ``import cupy`` gives."""
    made = FakeCupy(is_reversed=request.param)
    monkeypatch.setitem(sys.modules, "cupy", made)
    return made


@pytest.fixture
def device(cupy, monkeypatch):
    """A device, on which ``backend="cupy"`` runs."""
    made = CupyDevice(cupy, build, libraries(cupy).__getitem__, lambda: None)
    monkeypatch.setitem(backends.BACKENDS, "cupy", lambda unit: DeviceExecutable(unit, made))
    return made


def training(**options):
    """A program that updates two parameters, and its feed."""
    w = gn.parameter(np.linspace(-1, 1, 12, dtype="float32"))
    n = gn.parameter(0, dtype="int64", trainable=False)
    x = gn.input("x", (5, 12))
    loss = gn.sum(gn.tanh(x * w) ** 2)
    updates = {w: w - 0.1 * gn.grad(loss, w), n: n + 1}
    fed = np.linspace(-2, 2, 60, dtype="float32").reshape(5, 12)
    return gn.compile(x, loss, updates, **options), fed, (w, n)


@pytest.mark.parametrize("launch", ["graph", "stream", "debug"])
def test_steps_are_those_of_the_reference(device, cupy, launch):
    program, fed, state = training(backend="cupy", launch=launch)
    reference, _, expected_state = training(backend="reference")
    for _ in range(4):
        loss, expected = program(fed), reference(fed)
        assert loss.get() == pytest.approx(float(expected), rel=1e-6)
    assert cupy.n_graphs == (1 if launch == "graph" else 0)
    for have, want in zip(state, expected_state, strict=True):
        np.testing.assert_allclose(have.value, want.value, rtol=1e-6, atol=1e-7)
    assert state[1].value == 4


def test_a_trainer_gives_numbers_and_arrays_of_the_host(device, cupy):
    """For batches of the host, and for those that lie on the GPU."""
    rng = np.random.default_rng(0)
    host = [rng.normal(size=(4, 3)).astype("float32"), rng.normal(size=(4, 1)).astype("float32")]
    there = [cupy.asarray(each) for each in host]
    found = []
    for backend, batch in (("reference", host), ("cupy", host), ("cupy", there)):
        gn.seed(0)
        watching = gn.train.GradientStatistics()
        model = gn.nn.Dense(3, 1)
        trainer = gn.train.Trainer(model, gn.losses.mse, gn.optim.SGD(0.1), backend=backend)
        history = trainer.fit([tuple(batch)], epochs=2, callbacks=[watching], verbose=0)
        outputs = trainer.predict([(batch[0],)])
        assert isinstance(outputs, np.ndarray)
        numbers = [*history["loss"], trainer.evaluate([tuple(batch)])["loss"]]
        norms = [watching.of(name, "norm") for name in watching.names]
        found.append(np.concatenate([numbers, outputs.ravel(), *norms]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    np.testing.assert_array_equal(found[1], found[2])


def test_a_recurrence_gets_the_shared_memory_that_it_asks_for(device, cupy):
    x, w = gn.input("x", (30, 2, 120)), gn.input("w", (120, 120))

    def step(h, row):
        h = gn.tanh(row + h @ w)
        return h, h

    last, _ = gn.scan(step, gn.zeros((2, 120)), x)
    fed = [np.random.default_rng(0).normal(size=each.shape) / 10 for each in (x, w)]
    fed = [each.astype("float32") for each in fed]
    found = gn.compile([x, w], last, backend="cupy")(*fed).get()
    assert max(cupy.shared_nbytes.values()) >= 120 * 120 * 4
    expected = gn.compile([x, w], last, backend="reference")(*fed)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_all_ways_to_launch_give_the_same_bits(device):
    runs = []
    for launch in ("graph", "stream", "debug"):
        program, fed, (w, _) = training(backend="cupy", launch=launch)
        losses = [program(fed).get().tobytes() for _ in range(3)]
        runs.append((losses, w.value.tobytes()))
    assert runs[0] == runs[1] == runs[2]


def test_state_follows_the_program_that_runs(device):
    program, fed, (w, n) = training(backend="cupy")
    other = program.to("numpy")
    assert program.to("cupy") is program
    program(fed)
    other(fed)
    program(fed)
    assert n.value == 3
    n.value = 10
    program(fed)
    assert n.value == 11
    same, _, (v, _) = training(backend="numpy")
    for _ in range(4):
        same(fed)
    np.testing.assert_allclose(w.value, v.value, rtol=1e-6, atol=1e-7)


def test_a_checkpoint_of_a_gpu_is_read_on_a_processor(device, tmp_path):
    model = gn.nn.Dense(5, 3)
    x = gn.input("x", (4, 5))
    updates = gn.optim.SGD(0.1, momentum=0.9).minimize(gn.mean(model(x) ** 2), model.parameters())
    step = gn.compile(x, (), updates, backend="cupy")
    fed = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    step(fed)
    gn.io.save(tmp_path / "c", model=model)
    saved = [each.value for each in model.parameters()]
    step(fed)
    gn.io.load(tmp_path / "c", model=model)
    for each, value in zip(model.parameters(), saved, strict=True):
        np.testing.assert_array_equal(each.value, value)
    first = step.to("numpy")
    first(fed)
    step(fed)


def test_a_trainer_fits_evaluates_and_predicts(device):
    x = np.linspace(-1, 1, 16, dtype="float32")[:, None]
    data = gn.data.Batches(x, 2 * x, batch_size=8)
    losses = []
    for backend in ("cupy", "numpy"):
        gn.seed(0)
        model = gn.nn.Dense(1, 1)
        trainer = gn.train.Trainer(model, gn.losses.mse, gn.optim.SGD(0.1), backend=backend)
        trainer.fit(data, epochs=2, verbose=0)
        losses.append(trainer.evaluate(data)["loss"])
        predicted = trainer.predict([(x[:2],)])
        np.testing.assert_allclose(predicted, x[:2] @ model.weight.value + model.bias.value)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("launch", ["graph", "stream"])
def test_state_is_as_before_a_run_that_is_refused(device, launch):
    table = gn.parameter(np.linspace(-1, 1, 40, dtype="float32").reshape(10, 4))
    n = gn.parameter(0, dtype="int64", trainable=False)
    square = gn.parameter(np.eye(4, dtype="float32"))
    rows = gn.input("rows", (6,), dtype="int64")
    x = gn.input("x", (4, 4))
    loss = gn.sum(gn.embedding(rows, table) ** 2)
    updates = {table: table - gn.grad(loss, table), n: n + 1, square: x @ (x + 1.0)}
    step = gn.compile([rows, x], loss, updates, backend="cupy", launch=launch)
    good, fed = np.arange(6), np.full((4, 4), 0.5, "float32")
    step(good, fed)
    for _ in range(2):  # the second one of them is recorded
        before = [each.value for each in updates]
        with pytest.raises(gn.GraphnnError, match="10"):
            step(np.array([0, 1, 2, 3, 4, 10]), fed + 1)
        for each, value in zip(updates, before, strict=True):
            np.testing.assert_array_equal(each.value, value)
        step(good, fed)
    assert n.value == 3
    np.testing.assert_allclose(square.value, fed @ (fed + 1), rtol=1e-6)


def test_feeds_on_the_gpu_are_taken_from_there(device, cupy):
    program, fed, _ = training(backend="cupy")
    on_gpu = cupy.asarray(fed)
    np.testing.assert_array_equal(program(on_gpu).get(), training(backend="cupy")[0](fed).get())
    tensor = SimpleNamespace(
        __dlpack_device__=lambda: (2, 0), __dlpack__=lambda: None, handed_out=on_gpu
    )
    assert program(tensor).get() < 100
    with pytest.raises(FeedError, match=r"shape \(5, 12\), not \(12,\)"):
        program(cupy.asarray(fed[0]))
    with pytest.raises(FeedError, match="must be float32, not float64"):
        program(cupy.asarray(fed.astype("float64")))
    with pytest.raises(FeedError, match="lies on a GPU"):
        program.to("numpy")(on_gpu)


class Recording:
    """A tensor of PyTorch on a GPU that records gradients."""

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("not while gradients are recorded")

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self):
        raise BufferError("it requires gradient")

    handed_out = property(__dlpack__)


def test_tensors_that_record_gradients_are_refused_in_words(device):
    program, _, _ = training(backend="cupy")
    with pytest.raises(FeedError, match=r"cannot be taken from there: it requires.*\n.*detach"):
        program(Recording())
    with pytest.raises(FeedError, match="lies on a GPU"):
        program.to("numpy")(Recording())


def test_feeds_that_fit_are_not_looked_at_twice(device, cupy, monkeypatch):
    program, fed, _ = training(backend="cupy")
    first = program(cupy.asarray(fed))
    monkeypatch.setattr(program._inputs, "take", None)
    assert program(cupy.asarray(fed)).get() != first.get()
    apart = cupy.asarray(fed)
    apart.flags.c_contiguous = False
    with pytest.raises(TypeError):  # it would have to be taken
        program(apart)


def test_a_feed_on_another_gpu_is_refused(device, cupy):
    program, fed, _ = training(backend="cupy")
    far = cupy.asarray(fed)
    far.device = cupy.cuda.Device(1)
    with pytest.raises(FeedError, match="on GPU 1, but the program runs on GPU 0"):
        program(far)


def test_a_feed_may_change_as_soon_as_the_call_returns(device):
    program, fed, _ = training(backend="cupy")
    expected = training(backend="cupy")[0](fed).get()
    changing = fed.copy()
    loss = program(changing)
    changing[:] = 7
    np.testing.assert_array_equal(loss.get(), expected)


def test_a_program_may_be_gone_before_its_result_is_read(device):
    x = gn.input("x", (64, 64))
    fed = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    result = gn.compile(x, gn.tanh(x @ x), backend="cupy")(fed)
    np.testing.assert_allclose(result.get(), np.tanh(fed @ fed), rtol=1e-4, atol=1e-6)


def test_what_comes_of_arrays_without_elements_lies_where_it_is_wanted(device):
    x, y = gn.input("x", (4, 3, 0)), gn.input("y", (4, 3, 2))
    beside = gn.concatenate([gn.exp(y[0]), x[0] @ x[0].T, y[0]], axis=1)
    _, rows = gn.scan(lambda c, x: (c + 1.0, gn.tanh(x @ x.T + c)), gn.constant(1.0), x)
    _, sums = gn.scan(lambda c, x: (c + 1.0, x @ x.T), gn.constant(1.0), x)
    fed = np.zeros((4, 3, 0), "float32"), np.arange(24, dtype="float32").reshape(4, 3, 2)
    program = gn.compile([x, y], [beside, rows, sums], backend="cupy", optimize="O0")
    for _ in range(2):
        found, expected = program(*fed), program.to("reference")(*fed)
        for have, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(have.get(), want, rtol=1e-6)


def test_long_arrays_pass_through_both_slots(device, monkeypatch):
    monkeypatch.setattr(staging, "SLOT_NBYTES", 1000)
    given = np.arange(5003, dtype="uint8")
    memory = device.allocate(given.nbytes)
    device.upload(given, device.address(memory))
    found = np.zeros_like(given)
    device.download(device.address(memory), found)
    np.testing.assert_array_equal(found, given)


def test_work_comes_after_what_the_caller_has_launched(device, cupy):
    program, fed, _ = training(backend="cupy", launch="stream")
    expected = training(backend="cupy")[0](fed).get()
    later = cupy.asarray(np.zeros_like(fed))
    ready = cupy.asarray(fed)
    cupy.cuda.runtime.memcpyAsync(later.data.ptr, ready.data.ptr, fed.nbytes, 3, 0)
    loss = program(later)  # the caller's stream has not filled it yet
    device.wait()
    np.testing.assert_array_equal(loss.get(), expected)


def test_what_the_caller_launches_after_an_error_comes_later_too(device, cupy):
    source, target = device.allocate(8), device.allocate(8)
    addresses = device.address(source), device.address(target)
    device.upload(np.array([1]), addresses[0])

    def fail():
        with device.turn():
            device.copy(*addresses, 8)
            raise KeyError("in the middle")

    with pytest.raises(KeyError):
        fail()
    cupy.cuda.runtime.memcpyAsync(addresses[0], cupy.asarray(np.array([2])).data.ptr, 8, 3, 0)
    cupy.null.synchronize()  # the caller's memory holds something else by now
    found = np.zeros(1, np.int64)
    device.download(addresses[1], found)
    assert found == [1]


def test_a_forked_process_is_told_that_it_cannot_go_on(device, monkeypatch):
    program, fed, (w, _) = training(backend="cupy")
    program(fed)
    monkeypatch.setattr(cupy_device.os, "getpid", lambda: -1)
    monkeypatch.setattr(cupy_device, "_DEVICES", {0: device})
    for use in (lambda: program(fed), lambda: w.value, cupy_device.current_device):
        with pytest.raises(DeviceError, match=r"a fake GPU is in use by the process.*\n.*spawn"):
            use()


def test_setting_a_value_does_not_wait_for_the_one_on_the_gpu(device, monkeypatch):
    program, fed, (w, n) = training(backend="cupy")
    program(fed)
    monkeypatch.setattr(device, "download", None)
    n.value = 5
    assert n.value == 5
    with pytest.raises(FeedError, match="lies on a GPU"):
        w.value = device.view(device.allocate(48), 0, (12,), (4,), w.dtype)


def test_products_are_made_by_cublas(device, cupy):
    found = libraries(cupy)
    device._load, library = found.__getitem__, found["cublas"]
    a, b = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32")
    b = np.concatenate([b, b])[:5, :4]
    memory = [device.allocate(each.nbytes) for each in (a, b)]
    out = device.allocate(3 * 4 * 4)
    matrices = Matrices(3, 4, 5, 1, "float32", Matrix(5, 1), Matrix(4, 1), Matrix(4, 1))
    addresses = [device.address(each) for each in (*memory, out)]
    device.upload(a, addresses[0])
    device.upload(np.ascontiguousarray(b), addresses[1])
    device.product(matrices, "tf32")(addresses)
    found = np.empty((3, 4), "float32")
    device.download(addresses[2], found)
    np.testing.assert_allclose(found, a @ b, rtol=1e-6)
    assert library.computes == [77]
    assert library.mode == 16


def test_a_recording_that_fails_leaves_the_stream_usable(device):
    def work():
        raise KeyError("in the middle")

    with pytest.raises(KeyError):
        device.record(work)
    device.wait()


def test_too_little_memory_is_said(device, cupy):
    cupy.free_nbytes = 1 << 20
    x = gn.input("x", (1000, 1000))
    with pytest.raises(DeviceError, match="a fake GPU has too little memory"):
        gn.compile(x, gn.exp(x), backend="cupy")(np.zeros((1000, 1000), "float32"))


def test_too_little_memory_for_a_result_is_said(device, cupy):
    x = gn.input("x", (1000,))
    program, fed = gn.compile(x, gn.exp(x), backend="cupy"), np.zeros(1000, "float32")
    expected = program(fed).get()
    cupy.free_nbytes = 100
    with pytest.raises(DeviceError, match="a fake GPU has too little memory") as caught:
        program(fed)
    assert "100 B of 1.00 GiB are free" in str(caught.value)
    cupy.free_nbytes = 1 << 20
    np.testing.assert_array_equal(program(fed).get(), expected)


def test_too_little_memory_for_a_library_is_said(device, cupy, monkeypatch):
    def call_library(*_):
        raise cupy.cuda.memory.OutOfMemoryError

    monkeypatch.setattr(on_device, "call_library", call_library)
    x = gn.input("x", (8,))
    program = gn.compile(x, gn.argsort(x), backend="cupy")
    with pytest.raises(DeviceError, match="a fake GPU has too little memory") as caught:
        program(np.zeros(8, "float32"))
    computing, where = caught.value.__notes__
    assert "argsort" in computing
    assert "test_cupy_device.py" in where


def held_on(device):
    """The constants that programs hold there."""
    return [held for (at, _), held in device_constants._CONSTANTS.items() if at is device]


def test_constants_are_uploaded_once_for_all_sizes_and_given_back(device, cupy):
    table = gn.constant(np.linspace(0, 1, 10_000, dtype="float32"))
    x = gn.input("x", ("n", 10_000))
    program = gn.compile(x, gn.sum(gn.exp(x * table), axis=0), backend="cupy")
    program(np.ones((2, 10_000), "float32"))
    (held,) = held_on(device)
    addresses = {held.memory.ptr}
    program(np.ones((3, 10_000), "float32"))
    other = gn.compile(x, gn.sum(gn.exp(x + table), axis=0), backend="cupy")
    other(np.ones((2, 10_000), "float32"))
    addresses.update(each.memory.ptr for each in held_on(device))
    assert len(addresses) == 1
    del program, other, held
    gc.collect()
    assert not held_on(device)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"driver": 0}, "needs an NVIDIA driver, and there is none"),
        ({"driver": 12080}, "made for CUDA 12.8 and older, CuPy for CUDA 13.2"),
        ({"n_gpus": 0}, "knows no GPU"),
    ],
)
def test_what_is_missing_is_said(monkeypatch, found, words):
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy(**found))
    with pytest.raises(DeviceError, match=words):
        gn.set_backend("cupy")
    assert gn.get_backend() == "numpy"


def test_what_there_is_in_words(monkeypatch):
    monkeypatch.setattr(requirements, "Nvrtc", lambda: SimpleNamespace(version=(13, 0)))
    monkeypatch.setattr(requirements, "load_library", lambda name: None)
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy())
    monkeypatch.setitem(sys.modules, "cudnn", None)
    words = "a fake GPU, 1.00 GiB; driver for CUDA 13.0, NVRTC 13.0, with cuBLASLt, no cuDNN"
    assert requirements.gpu_words() == words

    def without_lt(name):
        if name == "cublasLt":
            raise MissingPackageError("no cublasLt", hint="", where="")

    monkeypatch.setattr(requirements, "load_library", without_lt)
    assert requirements.gpu_words() == words.replace("with cu", "without cu")
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy(driver=0))
    assert requirements.gpu_words().endswith("needs an NVIDIA driver, and there is none")


def test_no_cupy_or_an_old_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(MissingPackageError, match=r"needs CuPy.*\n.*pip install '\.\[cuda13\]'"):
        require_gpu()
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(__version__="13.6.0"))
    with pytest.raises(MissingPackageError, match=r"CuPy 14 or newer, this is 13\.6\.0"):
        require_gpu()


def test_the_fake_has_only_names_that_cupy_has():
    real = pytest.importorskip("cupy", reason="CuPy is not installed")
    fake = FakeCupy()
    own = {"is_reversed", "free_nbytes", "n_graphs", "null", "all_streams", "streams", "pool"}
    own |= {"shared_nbytes"}
    for name in vars(fake).keys() - own | {"asarray", "ascontiguousarray", "from_dlpack"}:
        assert hasattr(real, name), name
    for name, value in vars(fake.cuda).items():
        assert hasattr(real.cuda, name), name
        if isinstance(value, SimpleNamespace):
            for each in vars(value):
                assert hasattr(getattr(real.cuda, name), each), each
    for name in ("begin_capture", "end_capture", "wait_event", "synchronize", "ptr"):
        assert hasattr(real.cuda.Stream.null, name)
    assert hasattr(real.cuda.function.Module, "load")
    assert hasattr(real.cuda.function.Module, "get_function")
    assert hasattr(real.cuda.function.Function, "ptr")
    assert hasattr(real.cuda.graph.Graph, "launch")


@pytest.mark.parametrize("dtype", gn.core.dtypes.DTYPES, ids=str)
def test_views_are_arrays_of_cupy(dtype):
    real = pytest.importorskip("cupy", reason="CuPy is not installed")
    memory = np.zeros(64, "uint8")
    pointer = real.cuda.MemoryPointer(
        real.cuda.UnownedMemory(memory.ctypes.data, memory.nbytes, memory, 0), 0
    )
    device = object.__new__(CupyDevice)
    device._cupy = real
    size = dtype.itemsize
    made = device.view(pointer, pointer.ptr + size, (2,), (size,), dtype)
    assert isinstance(made, real.ndarray)
    assert (made.dtype, made.shape, made.data.ptr) == (dtype, (2,), pointer.ptr + size)
    assert device.address_of(memory) is None
