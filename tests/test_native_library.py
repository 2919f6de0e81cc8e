"""The library of compiled kernels: compiled once, kept on disk, never trusting what it reads."""

import dataclasses
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from native_calls import COUNT, call_now, generator

from graphnn.compiler.native import cache as cache_module
from graphnn.compiler.native.cache import Cache, Entry, default_directory
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.library import Library, Request
from graphnn.compiler.native.objects import compile_object
from graphnn.compiler.native.target import Target, host_target

MATH = """
declare float @expf(float)
declare ptr @memcpy(ptr, ptr, i64)
@NAME.weights = private constant [4 x float] [float 1.0, float 2.0, float 4.0, float 8.0]
define void @NAME(ptr %args, i64 %begin, i64 %end) {
  %to = load ptr, ptr %args
  %c = call ptr @memcpy(ptr %to, ptr @NAME.weights, i64 16)
  %x = load float, ptr %to
  %y = fmul float %x, 0x3FF3333340000000
  %z = call float @expf(float %y)
  store float %z, ptr %to
  ret void
}
"""


def never(name):
    raise AssertionError("it was there already")


def counted(calls, body=COUNT):
    def generate(name):
        calls.append(name)
        return generator(body)(name)

    return generate


def assert_counts(loaded):
    ((address, n_chunks),) = loaded.parts
    assert n_chunks == 64
    numbers = np.zeros(64, "int64")
    call_now(address, numbers, begin=3, end=60)
    np.testing.assert_array_equal(numbers, [0] * 3 + [1] * 57 + [0] * 4)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


@pytest.fixture
def files(cache, tmp_path):
    """What is in the directory of the cache now."""
    return lambda: [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_equal_keys_are_compiled_once(cache):
    calls = []
    library = Library(host_target(), cache)
    request = Request("count", counted(calls))
    first, second = library.load([request, Request("count", never)])
    (third,) = library.load([Request("count", never)])
    assert first is second is third
    assert len(calls) == 1
    assert_counts(first)


@pytest.mark.parametrize("is_quick", [False, True])
def test_another_process_finds_them_on_disk(cache, files, is_quick):
    (made,) = Library(host_target(), cache).load([Request("count", generator(COUNT), is_quick)])
    assert len(files()) == 1
    (found,) = Library(host_target(), cache).load([Request("count", never, is_quick)])
    assert made.parts[0][0] != found.parts[0][0]
    assert_counts(made)
    assert_counts(found)


def test_without_a_cache():
    (loaded,) = Library(host_target(), None).load([Request("count", generator(COUNT))])
    assert_counts(loaded)


def test_many_at_once_come_in_order(cache, monkeypatch):
    monkeypatch.setenv("GRAPHNN_NUM_THREADS", "3")
    library = Library(host_target(), cache)
    bodies = [COUNT.replace("%old, 1", f"%old, {n}") for n in range(12)]
    library.load([Request("key 4", generator(bodies[4]))])
    loaded = library.load([Request(f"key {n}", generator(bodies[n])) for n in range(12)])
    for n, each in enumerate(loaded):
        numbers = np.zeros(64, "int64")
        call_now(each.parts[0][0], numbers)
        np.testing.assert_array_equal(numbers, n)


def test_scratch_and_several_parts_are_kept(cache):
    def generate(name):
        first, second = generator(COUNT)(f"{name}_a"), generator(COUNT)(f"{name}_b")
        return Code(first.ir + second.ir, (*first.parts, *second.parts), 4096)

    (made,) = Library(host_target(), cache).load([Request("two", generate)])
    (found,) = Library(host_target(), cache).load([Request("two", never)])
    for each in (made, found):
        assert each.scratch_nbytes == 4096
        assert [n_chunks for _, n_chunks in each.parts] == [64, 64]
        assert each.parts[0] != each.parts[1]


def test_scratch_is_known_of_what_was_compiled_before(cache, files):
    def generate(name):
        return dataclasses.replace(generator(COUNT)(name), scratch_nbytes=4096)

    made, found = Library(host_target(), cache), Library(host_target(), cache)
    assert made.scratch_nbytes(Request("count", never)) is None
    made.load([Request("count", generate)])
    assert made.scratch_nbytes(Request("count", never)) == 4096
    assert found.scratch_nbytes(Request("count", never)) == 4096
    (path,) = files()
    path.unlink()  # it has been read: what was said of it holds
    (loaded,) = found.load([Request("count", never)])
    assert loaded.scratch_nbytes == 4096
    assert_counts(loaded)
    assert Library(host_target(), cache).scratch_nbytes(Request("count", never)) is None
    assert Library(host_target(), None).scratch_nbytes(Request("count", never)) is None


@pytest.mark.parametrize("is_quick", [False, True])
def test_constants_and_library_functions_are_reached(cache, is_quick):
    def generate(name):
        return Code(MATH.replace("NAME", name), ((name, 1),))

    for _ in range(2):
        (loaded,) = Library(host_target(), cache).load([Request("math", generate, is_quick)])
        numbers = np.zeros(4, "float32")
        call_now(loaded.parts[0][0], numbers)
        np.testing.assert_allclose(numbers, [np.exp(1.2), 2, 4, 8], rtol=1e-6)


def damaged(content):
    yield "empty", b""
    for length in (1, 16, 17, 40, 60, len(content) // 2, len(content) - 1):
        yield f"cut to {length}", content[:length]
    for place in (0, 16, 20, 48, 50, 70, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 0x10
        yield f"changed at {place}", bytes(changed)
    yield "longer", content + b"\0"


def test_damaged_files_are_built_again(cache, files):
    Library(host_target(), cache).load([Request("count", generator(COUNT))])
    (path,) = files()
    good = path.read_bytes()
    for how, content in damaged(good):
        path.write_bytes(content)
        calls = []
        (loaded,) = Library(host_target(), cache).load([Request("count", counted(calls))])
        assert len(calls) == 1, how
        assert path.read_bytes() == good, how
    assert_counts(loaded)


def test_a_directory_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for directory in (tmp_path / "file", tmp_path / "file" / "inside", tmp_path / ("x" * 300)):
        (loaded,) = Library(host_target(), Cache(directory)).load(
            [Request("count", generator(COUNT))]
        )
        assert_counts(loaded)


def test_nothing_is_left_of_a_write_that_fails(cache, files, monkeypatch):
    def refuse(source, destination):
        raise OSError("no space left on device")

    monkeypatch.setattr(cache_module.os, "replace", refuse)
    cache.write("ab0", Entry((), 0, b"code"))
    assert files() == []


def test_names_depend_on_all_that_code_depends_on(cache, files):
    target = host_target()
    other = dataclasses.replace(target, l1_bytes=target.l1_bytes + 1)
    for number, (key, quick, each) in enumerate(
        [
            ("a", False, target),
            ("b", False, target),
            ("a", True, target),
            ("a", False, other),
        ]
    ):
        Library(each, cache).load([Request(key, generator(COUNT), quick)])
        assert len(files()) == number + 1


def test_the_oldest_entries_are_evicted(tmp_path):
    cache = Cache(tmp_path, limit_nbytes=256 * 10_000)  # 10,000 bytes for each shard
    names = [f"ab{n:x}" for n in range(1, 16)]
    for age, name in enumerate(reversed(names)):
        cache.write(name, Entry((), 0, b"x" * 1000))
        os.utime(cache.path(name), (1e9 - age, 1e9 - age))
    cache.write("cd1", Entry((), 0, b"x" * 1000))
    cache.write("ab0", Entry((), 0, b"x" * 1000))  # the one that looks
    kept = sorted(path.name for path in (tmp_path / "ab").iterdir())
    assert kept == ["0", *"89abcdef"]
    assert sum(path.stat().st_size for path in (tmp_path / "ab").iterdir()) <= 10_000
    assert cache.read("cd1") is not None


def test_reading_an_old_entry_makes_it_young(cache):
    cache.write("ab1", Entry((("f", 2),), 8, b"code"))
    os.utime(cache.path("ab1"), (1e9, 1e9))
    assert cache.read("ab1") == Entry((("f", 2),), 8, b"code")
    assert cache.path("ab1").stat().st_mtime > 1e9


def test_where_the_directory_is(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHNN_CACHE_DIR", str(tmp_path))
    assert default_directory() == tmp_path
    monkeypatch.setenv("GRAPHNN_CACHE_DIR", "")
    assert default_directory() is None
    monkeypatch.delenv("GRAPHNN_CACHE_DIR")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "graphnn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_directory() == tmp_path / ".cache" / "graphnn"


@pytest.mark.parametrize("others", [0, 2])
def test_code_that_is_not_well_formed(cache, monkeypatch, others):
    monkeypatch.setenv("GRAPHNN_NUM_THREADS", "2")
    library = Library(host_target(), cache)
    good = [Request(f"good {n}", generator(COUNT)) for n in range(others)]
    with pytest.raises(RuntimeError, match="expected instruction opcode"):
        library.load([*good, Request("bad", generator("nonsense"))])
    missing = Request("calls", lambda name: Code(_MISSING.replace("NAME", name), ((name, 1),)))
    with pytest.raises(RuntimeError, match="symbols"):
        library.load([missing])
    (loaded,) = library.load([Request("bad", generator(COUNT))])
    assert_counts(loaded)


_MISSING = """
declare void @nowhere_to_be_found()
define void @NAME(ptr %args, i64 %begin, i64 %end) {
  call void @nowhere_to_be_found()
  ret void
}
"""


@pytest.mark.parametrize("cpu", ["skylake-avx512", "haswell", "x86-64"])
@pytest.mark.skipif("x86_64" not in host_target().triple, reason="code for x86-64")
def test_other_processors_can_be_compiled_for(cpu):
    target = Target(host_target().triple, cpu, "", 16, 16, False, 1 << 15, 1 << 19)
    assert compile_object(generator(COUNT)("f").ir, target)[:4] == b"\x7fELF"


def test_threads_that_load_the_same(cache):
    library, calls, results = Library(host_target(), cache), [], []
    start = threading.Barrier(4)

    def load():
        start.wait()
        results.extend(library.load([Request("count", counted(calls))]))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(calls) == 1
    assert len(results) == 4
    assert all(each is results[0] for each in results)


PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from native_calls import COUNT, call_now, generator
from graphnn.compiler.native.cache import Cache
from graphnn.compiler.native.library import Library, Request
from graphnn.compiler.native.target import host_target
import numpy as np
for turn in range(3):
    library = Library(host_target(), Cache(Path(sys.argv[2]), limit_nbytes=256 * 4000))
    bodies = [COUNT.replace("%old, 1", f"%old, {n}") for n in range(6)]
    for n, each in enumerate(library.load(
        [Request(f"key {n}", generator(body)) for n, body in enumerate(bodies)]
    )):
        numbers = np.zeros(64, "int64")
        call_now(each.parts[0][0], numbers)
        assert (numbers == n).all()
"""


def test_processes_that_share_a_directory(tmp_path):
    harness = os.path.join(os.path.dirname(__file__), "harness")
    command = [sys.executable, "-c", PROCESS, harness, str(tmp_path)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for each in running:
        _, error = each.communicate(timeout=120)
        assert each.returncode == 0, error.decode()
    cache = Cache(tmp_path)
    names = [path.parent.name + path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert len(names) == 6
    assert all(cache.read(name) is not None for name in names)


def test_an_entry_under_another_name_is_not_taken(cache):
    entry = Entry((("f", 1),), 0, b"code")
    one, other = "ab" + "0" * 62, "cd" + "0" * 62
    cache.write(one, entry)
    assert cache.read(one) == entry
    cache.path(other).parent.mkdir(parents=True)
    os.replace(cache.path(one), cache.path(other))
    assert cache.read(other) is None
