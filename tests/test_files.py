"""Readers of files that users have: what was written comes back, and damage is described."""

import gzip
import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import graphnn as gn
from graphnn.core.errors import ArgumentError

fuzz = settings(deadline=None, derandomize=True, database=None, max_examples=150)
IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all examples of a test."""
    return tmp_path_factory.mktemp("files")


def damaged(content):
    """A file that was cut, of which a byte was changed, or that has more at its end."""
    position = st.integers(0, max(len(content) - 1, 0))
    return st.one_of(
        position.map(lambda at: content[:at]),
        st.tuples(position, st.integers(1, 255)).map(
            lambda told: (
                content[: told[0]] + bytes([content[told[0]] ^ told[1]]) + content[told[0] + 1 :]
            )
        ),
        st.binary(min_size=1, max_size=4).map(lambda more: content + more),
    )


def attempted(read, path):
    """What is read, or the error that says why not."""
    try:
        return read(path)
    except ArgumentError as error:
        return error


# ------------------------------------------------------------------------------------------- IDX


def idx(array):
    code = IDX_CODES[array.dtype.str[1:]]
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return (
        bytes([0, 0, code, array.ndim])
        + sizes
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("dtype", IDX_CODES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (0, 5)])
def test_idx_files_are_read(pack, dtype, shape, tmp_path):
    array = np.arange(100, 100 + np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    path = tmp_path / "images"
    path.write_bytes(pack(idx(array)))
    found = gn.data.read_idx(path)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


def test_idx_files_are_read_as_mlxtend_reads_them(tmp_path):
    mnist = pytest.importorskip("mlxtend.data")
    images = np.arange(2 * 28 * 28).astype(np.uint8).reshape(2, 28, 28)
    (tmp_path / "images").write_bytes(idx(images))
    (tmp_path / "labels").write_bytes(idx(np.uint8([7, 3])))
    pixels, labels = mnist.loadlocal_mnist(str(tmp_path / "images"), str(tmp_path / "labels"))
    np.testing.assert_array_equal(gn.data.read_idx(tmp_path / "images").reshape(2, 784), pixels)
    np.testing.assert_array_equal(gn.data.read_idx(tmp_path / "labels"), labels)


GOOD_IDX = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "begins with nothing"),
        (b"\0\0\x0a\2" + GOOD_IDX[4:], "no IDX file: it begins with 00 00 0a 02"),
        (b"PK\3\4" + GOOD_IDX[4:], "no IDX file"),
        (GOOD_IDX[:10], "ends within the sizes of its 2 axes"),
        (GOOD_IDX[:-1], r"tells 6 bytes of values \(uint8 of shape \(2, 3\)\), there are 5"),
        (GOOD_IDX + b"x", "there are more"),
        (b"\0\0\x0e\3" + b"\xff" * 12 + b"1234", "more than the file can hold"),
        (b"\0\0\x08\xc8" + b"\0\0\0\1" * 200 + b"1", "no array has the shape"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_what_is_no_idx_file_is_refused(pack, content, words, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(pack(content))
    with pytest.raises(ArgumentError, match=words) as caught:
        gn.data.read_idx(path)
    assert str(path) in str(caught.value)


def test_a_damaged_gzip_file_is_refused(tmp_path):
    path = tmp_path / "images.gz"
    content = gzip.compress(idx(np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8)))
    path.write_bytes(content[:-300])
    with pytest.raises(ArgumentError, match="ended before"):
        gn.data.read_idx(path)
    path.write_bytes(content[:-8] + b"12345678")
    with pytest.raises(ArgumentError, match="damaged: CRC check failed"):
        gn.data.read_idx(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_idx_files_raise_or_differ(compressed, folder):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    content = gzip.compress(idx(array)) if compressed else idx(array)
    path = folder / "images"

    @fuzz
    @given(damaged(content))
    def check(changed):
        path.write_bytes(changed)
        found = attempted(gn.data.read_idx, path)
        if isinstance(found, ArgumentError):
            assert str(path) in str(found)
        else:
            assert found.nbytes <= len(idx(array))

    check()


def peak_of(read, path):
    tracemalloc.start()
    try:
        with pytest.raises(ArgumentError):
            read(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_head_that_lies_takes_no_memory(tmp_path):
    path = tmp_path / "images"
    head = b"\0\0\x08\1"
    path.write_bytes(head + struct.pack(">I", 2**31) + b"1234")
    assert peak_of(gn.data.read_idx, path) < 2**20
    # 300 kB that could be 300 MB when unpacked, but are not.
    noise = np.random.default_rng(0).bytes(300_000)
    path.write_bytes(gzip.compress(head + struct.pack(">I", 2**28) + noise))
    assert peak_of(gn.data.read_idx, path) < 8 * 2**20


# ------------------------------------------------------------------------------------------- npz

dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(sizes=(64, 128)),
    hnp.byte_string_dtypes(max_len=5),
    hnp.unicode_string_dtypes(max_len=5),
    hnp.datetime64_dtypes(),
)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_files_are_read_as_numpy_reads_them(save, folder):
    path = folder / "arrays.npz"

    @fuzz
    @given(
        hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
        st.booleans(),
    )
    def check(array, is_fortran):
        array = np.asfortranarray(array) if is_fortran else array
        save(path, x=array, other=np.arange(3))
        found = gn.data.read_npz(path)
        assert list(found) == ["x", "other"]
        with np.load(path) as expected:
            np.testing.assert_array_equal(found["x"], expected["x"])
            assert found["x"].dtype == expected["x"].dtype.newbyteorder("=")
        assert found["x"].shape == array.shape
        assert found["x"].flags.writeable

    check()


def archive(**members):
    """A zip file of what is given as bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return made.getvalue()


def npy(head, values=b"", version=1):
    head = head.encode()
    length = len(head).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + head + values


def saved(array):
    made = io.BytesIO()
    np.save(made, array, allow_pickle=True)
    return made.getvalue()


SHAPED = "{'descr': '<f8', 'fortran_order': False, 'shape': %s}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no .npz file"),
        (b"not a zip file", "not a zip file"),
        (archive(x=b"hello, world"), "array 'x': no array: it begins with 68 65 6c"),
        (archive(x=b""), "array 'x': no array: it begins with nothing"),
        (archive(x=saved(np.array([{}], object))), "array 'x': it holds Python objects"),
        (archive(x=saved(np.zeros(2, "i4,f8"))), "only numbers, .* are read, not \\["),
        (archive(x=npy("import os")), "its head cannot be read"),
        (archive(x=npy("[" * 5000)), "its head cannot be read"),
        (archive(x=npy("[1, 2]")), r"its head is \[1, 2\]"),
        (archive(x=npy(SHAPED % "(-1,)")), "its head is"),
        (archive(x=npy(SHAPED % "2")), "its head is"),
        (archive(x=npy(SHAPED % "(2,)", bytes(8))), "tells 16 bytes .*, there are 8"),
        (archive(x=npy(SHAPED % "(2,)", bytes(17))), "tells 16 bytes .*, there are more"),
        (archive(x=npy(SHAPED % f"({2**60},)")), "more than the file can hold"),
        (archive(x=npy(SHAPED % f"(0, {2**62}, 8)")), "no array has the shape"),
        (archive(x=npy((SHAPED % "()").replace("<f8", "<f3"), bytes(3))), "'<f3'"),
        (archive(x=npy(SHAPED % "()", bytes(8), version=9)), "no array: it begins with"),
        (archive(x=npy(SHAPED % "()" + " " * 20_000, version=2)), "a head of 20,"),
    ],
)
def test_what_is_no_npz_file_is_refused(content, words, tmp_path):
    path = tmp_path / "arrays.npz"
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match=words) as caught:
        gn.data.read_npz(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_all_versions_of_arrays_are_read(version, tmp_path):
    path = tmp_path / "arrays.npz"
    path.write_bytes(archive(x=npy(SHAPED % "(1, 2)", np.array([1.5, 2.5]).tobytes(), version)))
    assert gn.data.read_npz(path)["x"].tolist() == [[1.5, 2.5]]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_npz_files_raise_or_are_whole(save, folder):
    path = folder / "damaged.npz"
    x, y = np.arange(40.0).reshape(5, 8), np.arange(5)
    save(path, x=x, y=y)
    content = path.read_bytes()

    @fuzz
    @given(damaged(content))
    def check(changed):
        path.write_bytes(changed)
        found = attempted(gn.data.read_npz, path)
        if isinstance(found, ArgumentError):
            assert str(path) in str(found)
            return
        # The check sums of the archive cover all values: only names are not checked.
        for array, expected in zip(found.values(), (x, y), strict=False):
            np.testing.assert_array_equal(array, expected)

    check()


def test_an_npz_head_that_lies_takes_no_memory(tmp_path):
    path = tmp_path / "arrays.npz"
    path.write_bytes(archive(x=npy(SHAPED % f"({2**30},)", bytes(100))))
    assert peak_of(gn.data.read_npz, path) < 2**20
