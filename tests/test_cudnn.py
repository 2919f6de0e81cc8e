"""Contractions as convolutions of a library, and cuDNN by a fake that follows its rules."""

import inspect
import itertools
import sys
from collections import Counter
from types import ModuleType

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

pytest.importorskip("torch", reason="the fake of cuDNN convolves by PyTorch")

from fake_cudnn import NOTES, FakeCudnn, FakeGraph, FakeTensor, convolve
from fake_cupy import FakeCublas, FakeCupy, build
from kernel_interpreter import along

import graphnn as gn
from graphnn.compiler import backends
from graphnn.compiler.backends.interpreted import InterpretedExecutable
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.compiler.cuda import unfolding
from graphnn.compiler.cuda.code import Convolution, Tensor
from graphnn.compiler.cuda.convolutions import convolved
from graphnn.compiler.cuda.cudnn import (
    MOST_WORKSPACE_NBYTES,
    Cudnn,
    cudnn_words,
    described,
    import_cudnn,
)
from graphnn.compiler.cuda.cupy_device import CupyDevice
from graphnn.compiler.kernel import Contraction

# ------------------------------------------------------------------------ what a contraction is


class DescribedExecutable(InterpretedExecutable):
    """Holds what operators compute against the convolutions that their contractions are."""

    def __init__(self, unit, kinds):
        super().__init__(unit)
        self._kinds = kinds
        for number, each in enumerate(unit.instructions):
            if isinstance(each.kernel, Contraction):
                self._calls[number] = self._checked(each, self._calls[number])

    def _checked(self, instruction, call):
        contraction = instruction.kernel
        left, right = (self._memory.array(view) for view in instruction.inputs)
        (out,) = (self._memory.array(view) for view in instruction.outputs)
        epilogue = contraction.epilogue
        assert len(epilogue.values) == 1  # nothing is fused
        expected = along(out, epilogue.operands[0], epilogue.sizes, writeable=False)

        def check():
            call()
            found = convolved(contraction)
            self._kinds[found and found[0].convolution.kind] += 1
            if found is not None:
                given, strides = found
                made = np.full(expected.size, np.nan)
                starts = (left.ctypes.data, right.ctypes.data, made.ctypes.data)
                addresses = [sum(each) for each in zip(starts, given.offsets, strict=True)]
                convolve(given.convolution, addresses)
                lies = as_strided(made, expected.shape, [strides[n] for n in sorted(strides)])
                np.testing.assert_allclose(lies, expected, rtol=1e-12, atol=1e-12)

        return check


def layers():
    """Strides, paddings, dilations, groups and axes of space, in turn."""
    numbers = itertools.cycle(range(4))
    for ndim, stride, low, dilation in itertools.product((1, 2, 3), (1, 2), (0, 1, 2), (1, 2)):
        turn = next(numbers)
        window = [(3, 2, 4, 1)[(turn + axis) % 4] for axis in range(ndim)]
        groups = (1, 2, 3, 1)[turn]
        space = [dilation * (w - 1) + 1 + stride * turn + 2 for w in window]
        channels, filters = 2 * groups, 3 * groups
        padding = tuple((low, (low + turn) % 3) for _ in range(ndim))
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        yield (2, channels, *space), (filters, 2, *window), options


def test_contractions_are_the_convolutions_that_they_are_said_to_be(monkeypatch):
    kinds = Counter()
    monkeypatch.setitem(backends.BACKENDS, "cupy", lambda unit: DescribedExecutable(unit, kinds))
    rng = np.random.default_rng(0)
    for shape, window, options in layers():
        x, w = gn.input("x", shape, "float64"), gn.input("w", window, "float64")
        y = gn.conv(x, w, **options)
        outputs = [y, *gn.grad(gn.sum(y**2), [x, w])]
        program = gn.compile([x, w], outputs, backend="cupy", skip=("fuse",))
        program(rng.normal(size=shape), rng.normal(size=window))
    assert min(kinds[each] for each in ("fprop", "dgrad", "wgrad")) > 18
    assert kinds[None] < 0.2 * kinds.total()


def only(shape, window, **options):
    """The convolutions of a layer and its gradients."""
    x, w = gn.input("x", shape), gn.input("w", window)
    y = gn.conv(x, w, **options)
    gradients = gn.grad(gn.sum(y**2), [x, w])
    program = gn.compile([x, w], [y, *gradients], backend="cupy", verify=False)
    kernels = (each.kernel for each in program.unit.instructions)
    return [convolved(each) for each in kernels if isinstance(each, Contraction)]


def test_a_layer_is_described_as_its_user_wrote_it():
    x = Tensor((8, 4, 9, 8), (288, 72, 8, 1))
    w = Tensor((6, 2, 3, 3), (18, 9, 3, 1))
    y = Tensor((8, 6, 5, 8), (240, 40, 8, 1))
    found = only((8, 4, 9, 8), (6, 2, 3, 3), stride=(2, 1), padding=1, groups=2)
    assert [each[0].convolution for each in found] == [
        Convolution(kind, "float32", x, w, y, (2, 1), (1, 1), (1, 1), (1, 1))
        for kind in ("fprop", "dgrad", "wgrad")
    ]


def test_what_is_no_convolution_of_a_library():
    x, w = gn.input("x", (2, 4, 9)), gn.input("w", (3, 4, 1))
    program = gn.compile([x, w], gn.conv(x, w), backend="cupy")
    (kernel,) = (each.kernel for each in program.unit.instructions)
    assert convolved(kernel) is None  # a product
    known = only((2, 4, 9, 8), (3, 4, 3, 3), padding=1)[0]
    assert known[0].convolution.before == (1, 1)
    x, w = gn.input("x", (2, 4, 9, 8)), gn.input("w", (3, 4, 3, 3))
    backwards = gn.compile([x, w], gn.conv(x[:, :, ::-1], w, padding=1), backend="cupy")
    (kernel,) = (each.kernel for each in backwards.unit.instructions)
    assert convolved(kernel) is None


# ------------------------------------------------------------------------------- on a fake GPU


@pytest.fixture
def cupy(monkeypatch):
    made = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", made)
    return made


@pytest.fixture
def cudnn(cupy, monkeypatch):
    """The fake, which a device uses that ``backend="cupy"`` runs on."""
    for name in ("LEAST_USES", "LEAST_SUMMED"):
        monkeypatch.setattr(unfolding, name, 1)
    made = FakeCudnn(cupy)
    device = CupyDevice(cupy, build, lambda name: FakeCublas(cupy), lambda: made)
    monkeypatch.setitem(backends.BACKENDS, "cupy", lambda unit: DeviceExecutable(unit, device))
    return made


def training(backend="cupy", **options):
    """Two layers of a net that is trained, and its feed."""
    gn.seed(0)
    x = gn.input("x", (3, 2, 9, 8))
    net = gn.nn.Sequential(
        gn.nn.Conv2d(2, 4, 3, padding=1), gn.nn.ReLU(), gn.nn.Conv2d(4, 4, 3, stride=2, groups=2)
    )
    loss = gn.mean(gn.square(net(x)))
    updates = gn.optim.SGD(0.1).minimize(loss, net.parameters())
    fed = np.random.default_rng(0).normal(size=(3, 2, 9, 8)).astype("float32")
    return gn.compile(x, loss, updates, backend=backend, **options), fed, net.parameters()


def check_training():
    step, fed, state = training()
    expected, _, wanted = training("reference")
    for _ in range(3):  # one by one, recorded, the recording
        assert step(fed).get() == pytest.approx(float(expected(fed)), rel=1e-5)
    for have, want in zip(state, wanted, strict=True):
        np.testing.assert_allclose(have.value, want.value, rtol=1e-5, atol=1e-6)


def test_a_net_is_trained(cudnn, cupy):
    check_training()
    assert Counter(each.kind for each in cudnn.graphs) == {"fprop": 2, "dgrad": 1, "wgrad": 2}
    assert all(each.done[-1] == "build_plans" for each in cudnn.graphs)
    assert all(each.compute == "float32" for each in cudnn.graphs)
    assert {each.limit for each in cudnn.graphs} == {MOST_WORKSPACE_NBYTES}
    assert cupy.n_graphs == 1


def test_what_it_cannot_do_is_done_by_kernels(cudnn):
    cudnn.supports = lambda graph: graph.kind == "dgrad"
    check_training()
    assert len(cudnn.graphs) == 5


def test_equal_convolutions_are_planned_once(cudnn):
    x, w = gn.input("x", (3, 4, 9, 8)), gn.input("w", (4, 4, 3, 3))
    y = gn.conv(gn.conv(x, w, padding=1), w, padding=1)
    program = gn.compile([x, w], y, backend="cupy")
    program(np.ones((3, 4, 9, 8), "float32"), np.ones((4, 4, 3, 3), "float32"))
    assert len(cudnn.graphs) == 1


@pytest.mark.parametrize(
    ("dtype", "precision", "refused"),
    [
        ("float32", "float32", set(NOTES) - {"STRICT_NAN_PROP"}),
        ("float32", "tf32", {"NONDETERMINISTIC", "REDUCED_PRECISION_REDUCTION"}),
        ("bfloat16", "float32", {"NONDETERMINISTIC", "REDUCED_PRECISION_REDUCTION"}),
        ("float64", "float32", {"NONDETERMINISTIC", "REDUCED_PRECISION_REDUCTION"}),
    ],
)
def test_strict_products_refuse_plans_that_round(cudnn, dtype, precision, refused):
    x, w = gn.input("x", (3, 4, 9, 8), dtype), gn.input("w", (4, 4, 3, 3), dtype)
    y = gn.conv(x, w, padding=1)
    program = gn.compile([x, w], y, backend="cupy", matmul_precision=precision)
    given = [np.ones(each.shape, each.dtype) for each in (x, w)]
    assert program(*given).get().max() == 36.0
    (graph,) = cudnn.graphs
    assert set(graph.notes) == refused
    assert graph.compute == ("float64" if dtype == "float64" else "float32")


def test_a_workspace_that_is_recorded_is_kept(cupy, monkeypatch):
    allocated = []

    def allocate(nbytes):
        allocated.append(nbytes)
        return np.zeros(nbytes, np.uint8)

    library = Cudnn(FakeCudnn(cupy), 0, allocate, lambda memory: memory.ctypes.data)
    layer = only((8, 4, 9, 8), (6, 2, 3, 3), padding=1, groups=2)
    for nbytes, (given, _) in zip((1000, 500, 1500), layer, strict=True):
        monkeypatch.setattr(FakeGraph, "workspace_nbytes", nbytes)
        library.convolution(given.convolution, "float32")
    assert allocated == [1024, 2048]
    assert len(library._workspaces) == 2


@pytest.mark.parametrize(
    ("needed", "allocated"), [((130, 255, 256), [256]), ((100, 130, 255), [128, 256])]
)
def test_workspaces_are_less_than_twice_the_largest(cupy, monkeypatch, needed, allocated):
    made = []
    library = Cudnn(FakeCudnn(cupy), 0, lambda nbytes: made.append(nbytes) or nbytes, int)
    layer = only((8, 4, 9, 8), (6, 2, 3, 3), padding=1, groups=2)
    for mib, (given, _) in zip(needed, layer, strict=True):
        monkeypatch.setattr(FakeGraph, "workspace_nbytes", mib << 20)
        library.convolution(given.convolution, "float32")
    assert made == [each << 20 for each in allocated]
    assert sum(made) < 2 * MOST_WORKSPACE_NBYTES


def test_without_memory_for_a_workspace_kernels_are_used(cudnn, cupy, monkeypatch):
    monkeypatch.setattr(FakeGraph, "workspace_nbytes", 1 << 27)
    cupy.free_nbytes = 1 << 27  # of which some is taken by then
    check_training()
    assert len(cudnn.graphs) == 5
    monkeypatch.setattr(FakeGraph, "workspace_nbytes", 1000)
    check_training()
    assert len(cudnn.graphs) == 10  # asked again, and planned


# ------------------------------------------------------------------------------- what there is


def package(version, error=None):
    def backend_version():
        if error is not None:
            raise error
        return 92800

    made = ModuleType("cudnn")
    vars(made).update(
        __version__=version,
        backend_version=backend_version,
        backend_version_string=lambda: "9.28.0",
    )
    return made


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (package("1.32.0"), "cuDNN 9.28.0"),
        (package("2.0.1"), "cuDNN 9.28.0"),
        (package("1.31.9"), "no cuDNN"),
        (package("1.32.0", RuntimeError("Unable to find symbol cudnnGetVersion")), "no cuDNN"),
        (None, "no cuDNN"),
    ],
)
def test_what_there_is_in_words(monkeypatch, found, words):
    monkeypatch.setitem(sys.modules, "cudnn", found)
    assert cudnn_words() == words
    assert (import_cudnn() is None) is (words == "no cuDNN")


def test_the_fake_takes_what_the_package_takes():
    real = pytest.importorskip("cudnn", reason="nvidia-cudnn-frontend is not installed")
    for fake, known in ((FakeGraph, real.pygraph), (FakeTensor, real.Tensor), (FakeCudnn, real)):
        for name, function in inspect.getmembers(fake, inspect.isfunction):
            if name.startswith("_") or name.startswith("conv_"):
                continue
            own = [each for each in inspect.signature(function).parameters if each != "self"]
            theirs = inspect.signature(getattr(known, name)).parameters
            assert set(own) <= set(theirs) or name == "pygraph", name
    for names, owner in ((NOTES, real.numerical_note), (vars(FakeCudnn.data_type), real.data_type)):
        assert all(hasattr(owner, each) for each in names)
    assert issubclass(real.cudnnGraphNotSupportedError, Exception)


@pytest.mark.parametrize("kind", ["fprop", "dgrad", "wgrad"])
def test_the_package_holds_what_it_is_told(kind):
    real = pytest.importorskip("cudnn", reason="nvidia-cudnn-frontend is not installed")
    x, w = Tensor((2, 3, 9, 8), (216, 72, 8, 1)), Tensor((4, 3, 3, 2), (18, 6, 2, 1))
    y = Tensor((2, 4, 5, 7), (140, 35, 7, 1))
    told = Convolution(kind, "bfloat16", x, w, y, (2, 1), (1, 1), (1, 0), (1, 0))
    graph, uids = described(real, None, told)
    (node,) = graph.nodes
    assert node.params == {
        "pre_padding": [1, 0],
        "post_padding": [1, 0],
        "stride": [2, 1],
        "dilation": [1, 1],
    }
    arrays = [graph.find_tensor(uid) for uid in uids]
    for array, lies in zip(arrays, told.arrays, strict=True):
        assert (tuple(array.dim), tuple(array.stride)) == (lies.shape, lies.strides)
        assert array.data_type == real.data_type.BFLOAT16
    assert [each.uid for each in graph.get_inputs()] == [1, 2]
    assert not arrays[2].is_virtual
