"""Checkpoints: what is saved comes back, and what is damaged is never taken for whole."""

import json
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import graphnn as gn
import graphnn.io.checkpoint
import graphnn.io.files
from graphnn.core.errors import ArgumentError, CheckpointError
from graphnn.io.files import DamagedError, previous_of
from graphnn.io.tensors import decode, encode

TREE = {
    "none": None,
    "words": ['quote " and\nline', "ä", ""],
    "numbers": [0, -(2**70), True, 0.1, -0.0, 1e-320, float("inf"), float("-inf")],
    "nested": {"": {"a.b": [[], {}]}, "tuple": (1, 2)},
    "arrays": {
        "float16": np.float16([0.1, -0.0]),
        "bfloat16": np.array([1.5, 2.5], ml_dtypes.bfloat16),
        "float64": np.array(0.1),
        "empty": np.zeros((0, 3), np.float32),
        "bool": np.array([[True], [False]]),
        "complex64": np.complex64([1 - 2j]),
        "complex128": np.array([[0.1 + 0.2j]]),
        "scalar128": np.complex128(3j),
        "uint64": np.uint64([2**64 - 1]),
        "int8": np.int8([-128]),
        "nan": np.float32([np.nan]),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "swapped": np.arange(3, dtype=">i4"),
        "strided": np.arange(10)[::-2],
    },
}


def same(one, other):
    """Trees of the same values and bits, tuples being lists."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | np.generic):
        plain = np.asarray(one, np.asarray(one).dtype.newbyteorder("="))
        return (plain.dtype, plain.shape) == (
            other.dtype,
            other.shape,
        ) and plain.tobytes() == other.tobytes()
    return type(one) is type(other) and repr(one) == repr(other)


def model(seed=0, hidden=4):
    gn.seed(seed)
    return gn.nn.Sequential(gn.nn.Dense(3, hidden), gn.nn.Dense(hidden, 2))


def holds(path, number):
    """Whether loading gives the part ``number``, without a warning."""
    return gn.io.load(path).parts["number"] == number


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.ckpt"


# ---------------------------------------------------------------------------- what comes back


def test_trees_come_back_bit_for_bit(path):
    gn.io.save(path, tree=TREE, plain=3)
    checkpoint = gn.io.load(path)
    assert same(TREE, checkpoint.parts["tree"])
    assert checkpoint.parts["plain"] == 3
    assert repr(checkpoint).endswith(": tree, plain>")
    assert checkpoint.environment["NumPy"] == np.__version__
    assert checkpoint.environment["threads"] == gn.get_num_threads()


def test_tensors_have_readable_names_for_other_programs(path):
    saved = model()
    gn.io.save(path, model=saved, odd={"a.b": np.float32(1.0), "a": {"b": np.float32(2.0)}})
    found = load_file(path)
    assert same(found["model.layers.0.weight"], saved.state_dict()["layers.0.weight"])
    assert float(found["odd.a.b"]) == 1.0
    assert same(gn.io.load(path).parts["odd"]["a"], {"b": np.float32(2.0)})


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({1: 2}, "tree: the key 1 cannot be saved"),
        ({"a": {"$tensor": 2}}, "tree.a: the key '.tensor' cannot be saved"),
        ([0, object()], "tree.1: <object"),
        ({"a": np.array(["x"])}, "tree.a: an array of <U1 cannot be saved"),
        ([{"a": np.array([object()])}], "tree.0.a: an array of object cannot be saved"),
        (b"bytes", "tree: b'bytes' cannot be saved"),
    ],
)
def test_what_cannot_be_saved_is_named_and_nothing_is_written(path, part, words):
    with pytest.raises(ArgumentError, match=words):
        gn.io.save(path, tree=part)
    assert list(path.parent.iterdir()) == []


def test_a_part_without_load_state_dict_is_refused(path):
    gn.io.save(path, epoch=3)
    with pytest.raises(ArgumentError, match=r'hint: what was saved is in load\(...\).parts\["epo'):
        gn.io.load(path, epoch=0)


def test_no_pickle_anywhere():
    for file in Path(graphnn.io.files.__file__).parent.glob("*.py"):
        assert "pickle" not in file.read_text()


# ---------------------------------------------------------------------- what does not fit


def test_all_that_does_not_fit_is_listed_and_nothing_is_changed(path):
    gn.io.save(path, first=model(1), second=model(1, hidden=5), history=gn.train.History())
    first, second, history = model(2), model(2), gn.train.History({"loss": [1.0]})
    before = [first.state_dict(), second.state_dict(), history.state_dict(), gn.random.state_dict()]
    with pytest.raises(CheckpointError) as caught:
        gn.io.load(path, first=first, history=history, second=second, random=gn.random)
    for words in (
        "run.ckpt does not fit",
        "second: the state does not fit this Sequential",
        "layers.0.weight: (3, 5) float32 does not fit (3, 4) float32",
        "layers.0.bias: (5,) float32",
        "layers.1.weight: (5, 2) float32",
        "random: there is no such part, but first, second, history",
    ):
        assert words in str(caught.value)
    after = [first.state_dict(), second.state_dict(), history.state_dict(), gn.random.state_dict()]
    assert same(before, after)


def test_another_models_file(path):
    gn.io.save(path, model=gn.nn.LSTM(3, 4))
    with pytest.raises(CheckpointError) as caught:
        gn.io.load(path, model=model())
    for words in (
        "missing: layers.1.weight",
        "unexpected: layers.0.cell.input_weight",
        "another model",
    ):
        assert words in str(caught.value)


def test_a_part_that_breaks_leaves_the_others_as_they_were(path):
    class Breaks:
        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            if state:
                raise KeyboardInterrupt

    gn.io.save(path, model=model(1), last={"x": 1})
    other = model(2)
    before = other.state_dict()
    with pytest.raises(KeyboardInterrupt):
        gn.io.load(path, model=other, last=Breaks())
    assert same(before, other.state_dict())


def test_what_differs_elsewhere_is_said_where_training_goes_on(path, monkeypatch):
    saved, optimizer = model(), gn.optim.SGD(0.1)
    gn.io.save(path, model=saved, optimizer=optimizer)
    here = graphnn.io.checkpoint.environment()
    elsewhere = {**here, "NumPy": "9.9", "threads": 64, "new": 1}
    monkeypatch.setattr(graphnn.io.checkpoint, "environment", lambda: elsewhere)
    with pytest.warns(gn.io.CheckpointWarning) as caught:
        gn.io.load(path, model=saved, optimizer=optimizer)
    assert caught[0].filename == __file__
    assert f"last bits may differ: NumPy {np.__version__}, here 9.9; threads" in str(
        caught[0].message
    )
    gn.io.load(path, model=saved)  # to use it: no warning


# --------------------------------------------------------------------------- what is damaged


def test_any_flipped_bit_is_found():
    tensors = {"w": np.float32([[1, 2], [3, 4]]), "step": np.int64(3)[()], "z": np.ones(1, complex)}
    tensors = {name: np.asarray(value) for name, value in tensors.items()}
    content = encode(tensors, {"graphnn": json.dumps({"format": 1, "parts": {}})})
    decode("whole", content)
    whole = decode("whole", content)
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = decode("damaged", bytes(damaged))
        except DamagedError:
            continue
        # Without their name, the checksums are a text like others: no checkpoint has that.
        assert not found.is_checked, bit
        assert same(whole.tensors, found.tensors), bit


def test_a_flipped_bit_in_a_file_leads_to_the_checkpoint_before(path):
    gn.io.save(path, number=1, w=np.ones(3))
    gn.io.save(path, number=2, w=np.ones(3))
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for bit in [*rng.integers(0, 8 * len(content), 100), 8 * content.index(b'"sha256"') + 8]:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.warns(gn.io.CheckpointWarning, match=r"; the one before it is used, of 20"):
            assert holds(path, 1)
    path.write_bytes(content)
    assert holds(path, 2)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, -1])
def test_a_truncated_file(path, kept):
    gn.io.save(path, number=1, w=np.ones(3))
    gn.io.save(path, number=2, w=np.ones(3))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.warns(gn.io.CheckpointWarning, match="no whole safetensors file"):
        assert holds(path, 1)


def test_more_at_the_end(path):
    gn.io.save(path, number=1)
    with path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(CheckpointError, match="no whole safetensors file"):
        gn.io.load(path)


@pytest.mark.parametrize(
    "content",
    [
        (2**62).to_bytes(8, "little") + b"{}",
        (90).to_bytes(8, "little")
        + b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'.ljust(
            90
        ),
        (90).to_bytes(8, "little")
        + b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}'.ljust(90)
        + b"\0" * 4,
        b"PK\x03\x04 pickled by another library",
    ],
)
def test_sizes_are_checked_before_memory_is_asked_for(path, content):
    path.write_bytes(content)
    kept = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**36, kept[1]))  # a terabyte would be refused
    try:
        with pytest.raises(CheckpointError, match="no whole safetensors file") as caught:
            gn.io.load(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, kept)
    assert "run.ckpt.previous is not there" in str(caught.value)


def test_plain_weights_are_no_checkpoint(path):
    gn.io.save_weights(path, model().state_dict())
    with pytest.raises(CheckpointError, match=r"no manifest.*\n.*gn.io.load_weights reads"):
        gn.io.load(path)
    net = model()
    for misused in (
        lambda: gn.io.save_weights(path, net),
        lambda: net.load_state_dict(str(path)),
        lambda: gn.io.from_torch(net, net),
    ):
        with pytest.raises(ArgumentError, match=r"holds arrays by name.*\n.*\n.*state_dict\(\)"):
            misused()
    save_file({"w": np.ones(2)}, path)
    with pytest.raises(CheckpointError, match="no manifest, or no checksums"):
        gn.io.read_checkpoint(path)


def test_a_newer_format_is_not_taken_for_damage(path, monkeypatch):
    gn.io.save(path, number=1)
    monkeypatch.setattr(graphnn.io.checkpoint, "FORMAT", 2)
    gn.io.save(path, number=2)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 2, this graphnn reads format 1"):
        gn.io.load(path)


# ------------------------------------------------------------------------------- what is there


def test_the_one_before_is_kept_and_used(path):
    with pytest.raises(CheckpointError, match=r"run.ckpt is not there; .*previous is not there"):
        gn.io.load(path)
    gn.io.save(path, number=1)
    assert not previous_of(path).exists()
    for number in (2, 3):
        gn.io.save(path, number=number)
    assert gn.io.read_checkpoint(previous_of(path)).parts == {"number": 2}
    path.unlink()
    with pytest.warns(gn.io.CheckpointWarning, match=r"run.ckpt is not there; the one before it"):
        assert holds(path, 2)
    gn.io.save(path, number=4)
    assert holds(path, 4)
    assert sorted(each.name for each in path.parent.iterdir()) == ["run.ckpt", "run.ckpt.previous"]


def test_where_there_are_no_links_the_one_before_is_copied(path, monkeypatch):
    def refuse(*names):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    gn.io.save(path, number=1)
    gn.io.save(path, number=2)
    assert holds(path, 2)
    assert holds(previous_of(path), 1)


def test_links_are_followed(path, tmp_path):
    (tmp_path / "disk").mkdir()
    real = tmp_path / "disk" / "real.ckpt"
    path.symlink_to(real)
    gn.io.save(path, number=1)
    gn.io.save(path, number=2)
    assert path.is_symlink()
    real.write_bytes(b"")
    with pytest.warns(gn.io.CheckpointWarning):
        assert holds(path, 1)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_the_umask(path, mask):
    before = os.umask(mask)
    try:
        gn.io.save(path, number=1)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_what_killed_processes_left_is_removed_once_it_is_old(path, monkeypatch):
    mine, others = path.with_name(".run.ckpt.00.partial"), path.with_name(".else.ckpt.00.partial")
    for each in (mine, others):
        each.write_bytes(b"half")
    gn.io.save(path, number=1)
    assert mine.exists()  # another process may be writing it
    monkeypatch.setattr(graphnn.io.files, "_SECONDS_TO_LIVE", -1.0)
    gn.io.save(path, number=2)
    assert not mine.exists()
    assert others.exists()


# --------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("failing", ["open", "fsync", "replace"])
def test_an_error_while_writing_leaves_the_one_before(path, monkeypatch, failing):
    gn.io.save(path, number=1)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        with pytest.raises(CheckpointError) as caught:
            gn.io.save(path, number=2)
    for words in (f"{path} cannot be written: No space left on device", "What was saved before"):
        assert words in str(caught.value)
    assert holds(path, 1)
    assert [each.name for each in path.parent.iterdir()] == ["run.ckpt"]


def test_a_file_that_may_not_grow_as_on_a_full_disk(path, tmp_path):
    """The limit of a process's files makes the system itself refuse to write."""
    gn.io.save(path, number=1)
    code = f"""
import resource, signal
import numpy as np
import graphnn as gn
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    gn.io.save({str(path)!r}, number=2, w=np.zeros(100_000))
except gn.CheckpointError as error:
    print(error)
"""
    made = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "cannot be written: File too large" in made.stdout
    assert holds(path, 1)
    assert [each.name for each in path.parent.iterdir()] == ["run.ckpt"]


def test_paths_that_cannot_be_written(path):
    with pytest.raises(CheckpointError, match="No such file or directory"):
        gn.io.save(path / "missing" / "run.ckpt", number=1)
    path.mkdir()
    with pytest.raises(CheckpointError, match="Is a directory"):
        gn.io.save(path, number=1)
    with pytest.raises(CheckpointError, match=r"run.ckpt is no file"):
        gn.io.load(path)
    with pytest.raises(CheckpointError, match="File name too long"):
        gn.io.save(path.with_name("x" * 300), number=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_yours(path):
    path.parent.chmod(0o500)
    try:
        with pytest.raises(CheckpointError, match="Permission denied"):
            gn.io.save(path, number=1)
    finally:
        path.parent.chmod(0o700)


def test_ctrl_c_while_writing_leaves_the_one_before(path, monkeypatch):
    gn.io.save(path, number=1)

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            gn.io.save(path, number=2)
    assert holds(path, 1)
    assert [each.name for each in path.parent.iterdir()] == ["run.ckpt"]


KILLED = """
import os, signal, sys
import graphnn as gn

path = sys.argv[1]
gn.io.save(path, number=2)
gn.io.save(path, number=3)


def save_and_die(place):
    count = 0

    def deadly(real):
        def call(*arguments, **options):
            nonlocal count
            count += 1
            if count == place:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)
        return call

    for name in ("scandir", "open", "fsync", "link", "replace", "close", "unlink"):
        setattr(os, name, deadly(getattr(os, name)))
    gn.io.save(path, number=4)
    gn.io.save(path, number=5)


for place in range(1, 100):
    child = os.fork()
    if child == 0:
        save_and_die(place)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    found = [gn.io.read_checkpoint(each).parts["number"] for each in (path, path + ".previous")]
    print(place, os.waitstatus_to_exitcode(status), *found, flush=True)
    if status == 0:
        break
    gn.io.save(path, number=2)
    gn.io.save(path, number=3)
"""


def test_kill_at_every_call_of_the_system(path, tmp_path):
    """Killed before any of its calls, a process leaves a whole file, and the one before."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    command = [sys.executable, "-P", "-W", "ignore", str(script), str(path)]
    made = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    rounds = [tuple(map(int, line.split())) for line in made.stdout.splitlines()]
    assert [code for _, code, _, _ in rounds[:-1]] == [-9] * (len(rounds) - 1)
    assert rounds[-1][1:] == (0, 5, 4)
    # Between the two names there is one moment at which the one before is older by one.
    left = [(newest, before) for _, _, newest, before in rounds]
    assert list(dict.fromkeys(left)) == [(3, 2), (4, 2), (4, 3), (5, 3), (5, 4)]


# --------------------------------------------------------------------------------- weights


def test_weights_are_plain_safetensors(path):
    saved = model(1)
    state = {**saved.state_dict(), "half": np.ones(2, ml_dtypes.bfloat16), "z": np.ones(2, complex)}
    gn.io.save_weights(path, state)
    assert same(state, gn.io.load_weights(path))
    del state["half"]  # that safetensors for NumPy cannot read
    gn.io.save_weights(path, state)
    assert same(load_file(path)["layers.0.weight"], state["layers.0.weight"])
    other = model(2)
    other.load_state_dict(gn.io.load_weights(path), strict=False)
    assert same(other.state_dict(), saved.state_dict())
    assert [each.name for each in path.parent.iterdir()] == ["run.ckpt"]


def test_weights_of_other_programs_are_read(path):
    save_file({"w": np.arange(3.0)}, path, metadata={"format": "np"})
    assert same(gn.io.load_weights(path), {"w": np.arange(3.0)})


def test_damaged_weights_are_refused(path):
    gn.io.save_weights(path, {"w": np.arange(3.0)})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="the checksums of w are not right"):
        gn.io.load_weights(path)
    with warnings.catch_warnings(), pytest.raises(CheckpointError, match="not there"):
        gn.io.load_weights(path.with_name("none"))
