"""NVRTC and its cubins on disk. What compiles needs the library, and no GPU."""

from types import SimpleNamespace

import pytest
from checks import dtypes_of
from drawing import cases, is_drawable
from machine_code import check_machine_code, one_of_a_kind, using_other_functions
from together import Together, joined

import graphnn as gn
from graphnn.compiler.cuda.arrangement import arranged
from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.cubins import TOGETHER, Cubins, architecture_for
from graphnn.compiler.cuda.nvrtc import Nvrtc
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.compiler.native.cache import Cache
from graphnn.core.errors import DeviceError, MissingPackageError


class Counting:
    """In place of NVRTC: counts what it compiles."""

    version = (13, 0)

    def __init__(self):
        self.compiled = []

    def compile(self, source, architecture):
        self.compiled.append(architecture)
        return SimpleNamespace(cubin=b"\x7fELF" + str(hash((source, architecture))).encode())


def some_codes(count):
    return [Code(f"// {n}", (Part(f"kernel{n}", 1, 32),)) for n in range(count)]


def test_modules_are_kept_on_disk(tmp_path):
    nvrtc, codes = Counting(), some_codes(TOGETHER + 1)
    built = Cubins(nvrtc, 90, Cache(tmp_path)).build(codes)
    assert [len(some) for some, _ in built] == [TOGETHER, 1]
    assert len(nvrtc.compiled) == 2
    assert Cubins(nvrtc, 90, Cache(tmp_path)).build(codes) == built
    assert len(nvrtc.compiled) == 2
    Cubins(nvrtc, 80, Cache(tmp_path)).build(codes[:1])
    assert nvrtc.compiled[2:] == [80]
    nvrtc.version = (13, 1)
    Cubins(nvrtc, 90, Cache(tmp_path)).build(codes[-1:])
    assert nvrtc.compiled[3:] == [90]
    Cubins(nvrtc, 90, None).build(codes[:1])
    assert nvrtc.compiled[4:] == [90]


def test_what_one_program_has_built_another_one_takes():
    nvrtc, codes = Counting(), some_codes(5)
    cubins = Cubins(nvrtc, 90, None)
    ((_, first),) = cubins.build(codes[:3])
    (some, again), (rest, second) = cubins.build([codes[4], *codes[1:3]])[::-1]
    assert (some, again) == (codes[1:3], first)
    assert rest == codes[4:]
    assert second != first
    assert len(nvrtc.compiled) == 2
    assert cubins.build(codes[:1]) == [(codes[:1], first)]
    assert len(nvrtc.compiled) == 2


def test_equal_kernels_have_one_name_in_all_programs():
    x, y = gn.input("x", (7, 5)), gn.input("y", (7, 5))
    total = gn.sum(gn.tanh(x))
    one = gn.compile(x, total, backend="cupy")
    other = gn.compile([y, x], gn.sin(y * total), backend="cupy")
    first, second = ({each.source for each in steps_of(p.unit)[1]} for p in (one, other))
    assert len(first & second) == 1
    assert first < second


@pytest.mark.parametrize("damage", [lambda content: content[:-3], lambda content: b"",
                                    lambda content: content[:-1] + b"?"])  # fmt: skip
def test_damaged_files_are_made_again(tmp_path, damage):
    nvrtc, codes = Counting(), some_codes(1)
    whole = Cubins(nvrtc, 90, Cache(tmp_path)).build(codes)
    (path,) = (each for each in tmp_path.rglob("*") if each.is_file())
    path.write_bytes(damage(path.read_bytes()))
    assert Cubins(nvrtc, 90, Cache(tmp_path)).build(codes) == whole
    assert len(nvrtc.compiled) == 2
    assert Cubins(nvrtc, 90, Cache(tmp_path)).build(codes) == whole
    assert len(nvrtc.compiled) == 2


def test_code_for_an_older_gpu_of_the_same_generation():
    known = (75, 80, 86, 90, 100)
    assert architecture_for(90, known) == 90
    assert architecture_for(89, known) == 86
    assert architecture_for(103, known) == 100
    with pytest.raises(DeviceError, match=r"for compute capability 12\.0, .*\n.*newer"):
        architecture_for(120, known)
    with pytest.raises(DeviceError, match=r"7\.0, but for 7\.5, 8\.0.*\n.*older"):
        architecture_for(70, known)


# ------------------------------------------------------------------------- with the library


def codes_of_programs():
    """A step with labels, products, sums and a table; sums; moves; a layer; operations."""
    rows = gn.input("rows", (6,), dtype="int64")
    table = gn.parameter([[0.5] * 8] * 10)
    w = gn.parameter([[0.1] * 5] * 8)
    loss = gn.losses.cross_entropy(gn.tanh(gn.embedding(rows, table)) @ w, rows)
    updates = gn.optim.Adam(1e-3).minimize(loss, [table, w])
    step = gn.compile(rows, loss, updates, backend="cupy")
    x = gn.input("x", (64, 300))
    y = gn.cast(x, "float16")
    outputs = [gn.softmax(x), gn.var(x, axis=0), gn.exp(y) + gn.log(y), gn.sqrt(x) / x, x > 0]
    at, z = gn.input("at", (5000,), "int64"), gn.input("z", (5000, 3), "complex64")
    image = gn.input("image", (2, 3, 8, 8), "int64")
    others = [
        gn.scatter_add(gn.ones((60, 3), "complex64"), at, z), gn.cumprod(z, axis=0),
        gn.cumsum(z[:, 0]), gn.polygamma(2, x), gn.conv(image, gn.ones((4, 3, 3, 3), "int64")),
    ]  # fmt: skip
    images, filters = gn.input("images", (4, 32, 9, 9)), gn.input("filters", (33, 32, 3, 3))
    loss = gn.sum(gn.tanh(gn.conv(images, filters, padding=1, stride=2)))
    programs = (
        step,
        gn.compile(x, outputs, backend="cupy"),
        gn.compile([at, z, x, image], others, backend="cupy"),
        wide(),
        gn.compile([images, filters], gn.grad(loss, [images, filters]), backend="cupy"),
        *recurrent(),
    )
    return [codes_of(each) for each in programs]


def codes_of(program):
    return steps_of(arranged(program.unit))[1]


def recurrent():
    """Recurrences that are one launch each way: of one row to a block, and of many."""
    for batch, precision in ((4, "float32"), (1100, "bfloat16")):
        x, lstm = gn.input("x", (100, batch, 8)), gn.nn.LSTM(8, 64)
        loss = gn.mean(lstm(x) ** 2)
        updates = gn.optim.SGD(0.1).minimize(loss, lstm.parameters())
        yield gn.compile(x, loss, updates, backend="cupy", matmul_precision=precision)


def wide():
    """A program whose threads take neighbours together, of single and of half precision."""
    x = gn.input("x", (4096, 1024))
    outputs = [gn.layer_norm(x), gn.softmax(x), gn.sum(x, 0), gn.cast(x, "bfloat16") * 2.0]
    return gn.compile(x, outputs, backend="cupy")


def operations():
    """A program of all samples of the table."""
    fitting = (each for each in cases() if "float32" in dtypes_of(each.operation))
    chosen = [each for each in fitting if is_drawable(each.sample, "float32")]
    graph = Together.of(chosen, "float32")
    return gn.compile(joined(graph.inputs), graph.outputs(), backend="cupy")


@pytest.mark.parametrize("architecture", [80, 90])
def test_code_becomes_machine_code_and_spills_nothing(nvrtc, architecture):
    for codes in codes_of_programs():
        check_machine_code(nvrtc, codes, architecture)


def test_all_operations_become_machine_code_and_spill_nothing(nvrtc):
    """For sm_90 one of those that differ in sizes alone; for sm_80 what may not be there."""
    kinds = one_of_a_kind(codes_of(operations()))
    assert len(kinds) > 200
    check_machine_code(nvrtc, kinds, 90)
    check_machine_code(nvrtc, using_other_functions(kinds), 80)


def test_products_are_rounded_before_they_are_added(nvrtc):
    text = 'extern "C" __global__ void f(float* x) { x[0] = x[1] * x[2] + x[3]; }'
    fused = nvrtc.compile(text, 90, ("--fmad=true",)).cubin
    assert nvrtc.compile(text, 90).cubin != fused


def test_what_is_not_well_formed_is_told(nvrtc):
    with pytest.raises(RuntimeError, match="COMPILATION") as caught:
        nvrtc.compile("__global__ void f() { nothing; }", 90)
    assert "nothing" in str(caught.value)


def test_without_the_library():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "cuda.pathfinder", None)
        with pytest.raises(MissingPackageError, match="CUDA's library nvrtc"):
            Nvrtc()
