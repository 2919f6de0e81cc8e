"""Training and predicting on the command line: what is read, written, resumed and refused."""

import csv
import importlib.util
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn
from graphnn.cli import results
from graphnn.cli.main import COMMANDS, main, parser
from graphnn.cli.networks import NETWORKS, OPTIMIZERS, optimizer_named, option_text, options_from
from graphnn.cli.preparation import Preparation
from graphnn.cli.run_folder import RunFolder, chosen_folder
from graphnn.cli.sample_files import Source, read_samples
from graphnn.cli.samples import DATA_SETS, Samples, held_out

SECONDS = 120
"""Far above what a process takes, so that a busy machine fails no test."""

PLAIN = ("--backend", "reference")
"""Nothing is compiled, which takes longer than the training of a small net."""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    """Where a test may write; no curves are drawn, which takes longer than to train."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "find_spec", lambda name: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A table, and the folder of a run on it: two epochs, kinds of houses."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(results, "find_spec", lambda name: None)
        houses()
        train("mlp", "--data", "houses.csv", "--drop", "id", "--drop", "price", "--epochs", 2)
    return place


@pytest.fixture
def run(trained):
    """A copy of it in the folder of a test."""
    shutil.copytree(trained, Path(), dirs_exist_ok=True)
    return Path("runs/mlp-houses")


def houses(path="houses.csv", rows=60):
    """A table with numbers and words; the price follows from them."""
    rng = np.random.default_rng(0)
    lines = ["id,rooms,town,area,price,kind"]
    for number in range(rows):
        rooms, area = rng.integers(1, 7), rng.uniform(20, 120)
        town = ("Ur", "Troy, old", 'the "new" town')[rng.integers(3)]
        kind = "large" if rooms > 3 else "small"
        quoted = town.replace('"', '""')
        price = 1000 * rooms + 30 * area
        lines.append(f'h{number},{rooms},"{quoted}",{area:.2f},{price:.2f},{kind}')
    Path(path).write_text("\n".join(lines), encoding="utf-8")
    return path


def train(*arguments, status=0):
    assert main(["train", *map(str, arguments), *PLAIN]) == status


def predicted(capsys, *arguments):
    """The rows that are printed, without the header."""
    capsys.readouterr()
    assert main(["predict", *map(str, arguments)]) == 0
    header, *rows = csv.reader(capsys.readouterr().out.splitlines())
    return header, rows


def refused(capsys, *arguments):
    """What is said when something cannot be done; nothing may be written then."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 1
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    return capsys.readouterr().err


def rows_of(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def weights(folder, which="last"):
    return gn.io.read_checkpoint(Path(folder, "checkpoints", f"{which}.ckpt")).parts["model"]


# ------------------------------------------------------------------------- training and predicting


def by_hand(table, state, scale):
    """A linear model of the houses in float64: standardised numbers and words, in the order."""
    columns = {name: [row[name] for row in table] for name in ("rooms", "town", "area")}
    towns = sorted(set(columns["town"]))
    words = [[each == town for town in towns] for each in columns["town"]]
    rooms, area = (np.array(columns[name], np.float64)[:, None] for name in ("rooms", "area"))
    x = np.concatenate([rooms, np.array(words, np.float64), area], axis=1)
    x = (x - scale["inputs.mean"]) / scale["inputs.std"]
    return x @ state["layers.0.weight"].astype(np.float64) + state["layers.0.bias"]


def test_classes_of_a_table_are_learned_and_predicted_as_by_hand(capsys):
    houses()
    train("linear", "--data", "houses.csv", "--drop", "id", "--drop", "price", "--epochs", 30)
    told = capsys.readouterr().out
    assert "48 samples to learn from, 12 held out; 2 classes" in told
    assert "go on    graphnn train --resume runs/linear-houses --epochs 60" in told
    folder = Path("runs/linear-houses")
    files = {each.name for each in folder.iterdir() if each.name != "history.png"}
    assert files == {"run.json", "scale.safetensors", "checkpoints", "history.csv", "summary.txt"}
    run = json.loads((folder / "run.json").read_text())
    assert run["classes"] == ["large", "small"]
    assert [each["name"] for each in run["columns"]] == ["rooms", "town", "area"]
    epochs = rows_of(folder / "history.csv")
    assert list(epochs[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert len(epochs) == 30
    summary = (folder / "summary.txt").read_text()
    assert "best     epoch" in summary
    assert "trainable: 12" in summary  # 2 numbers and 3 words, for each of two classes

    scale = gn.io.load_weights(folder / "scale.safetensors")
    table = rows_of("houses.csv")
    for which in ("best", "last"):
        logits = by_hand(table, weights(folder, which), scale)
        wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        header, rows = predicted(capsys, folder, "--data", "houses.csv", "--checkpoint", which)
        assert header == ["class", "p(large)", "p(small)"]
        assert [row[0] for row in rows] == [run["classes"][each] for each in wanted.argmax(axis=1)]
        np.testing.assert_allclose(np.float64([row[1:] for row in rows]), wanted, rtol=1e-5)


def test_values_of_a_table_are_predicted_in_their_unit(capsys):
    houses()
    train(
        *("linear", "--data", "houses.csv", "--target", "price", "--drop", "id", "--drop", "kind"),
        *("--epochs", 20, "--lr", 0.03, "--out", "here is a run"),
    )
    told = capsys.readouterr().out
    assert "graphnn predict 'here is a run' --data FILE" in told
    folder = Path("here is a run")
    scale = gn.io.load_weights(folder / "scale.safetensors")
    table = rows_of("houses.csv")
    wanted = by_hand(table, weights(folder, "best"), scale)
    wanted = wanted * scale["values.std"] + scale["values.mean"]
    header, rows = predicted(capsys, folder, "--data", "houses.csv")
    assert header == ["price"]
    np.testing.assert_allclose(np.float64(rows), wanted, rtol=1e-5)
    # The error that is recorded is in that unit, too: of the part that was held out.
    samples = read_samples(Source(("houses.csv",), "price", None, ("id", "kind")))
    _, (unknown,) = gn.data.split(np.arange(60), test=0.2, seed=0)
    epochs = rows_of(folder / "history.csv")
    losses = [(float(row["val_loss"]), float(row["val_mae"])) for row in epochs]
    errors = np.abs(wanted[unknown] - samples.targets[unknown])
    np.testing.assert_allclose(min(losses)[1], errors.mean(), rtol=1e-4)


def test_tables_with_other_delimiters_are_read(capsys):
    houses()
    text = Path("houses.csv").read_text(encoding="utf-8")
    Path("tabs.csv").write_text(text.replace(",", "\t"), encoding="utf-8")
    given = ("--drop", "id", "--drop", "price", "--epochs", 1, "--delimiter", "tab")
    train("linear", "--data", "tabs.csv", *given, "--out", "a")
    assert json.loads(Path("a/run.json").read_text())["data"]["delimiter"] == "\t"
    header, rows = predicted(capsys, "a", "--data", "tabs.csv")
    assert header == ["class", "p(large)", "p(small)"]
    assert len(rows) == 60


def test_training_ends_when_nothing_improves(capsys):
    houses()
    train(
        *("linear", "--data", "houses.csv", "--drop", "id", "--drop", "price", "--epochs", 40),
        *("--lr", 1e-9, "--patience", 2, "--out", "a"),
    )
    told = capsys.readouterr().out
    assert "stopped  val_accuracy has not improved for 2 epochs" in told
    assert len(rows_of("a/history.csv")) == 3
    assert "best     epoch 1 of 3" in Path("a/summary.txt").read_text()


def test_rates_go_by_a_schedule_over_all_epochs(capsys):
    houses()
    given = ("linear", "--data", "houses.csv", "--drop", "id", "--drop", "price", "--lr", 0.1)
    final = []
    for schedule in ("constant", "cosine"):
        train(
            *given, "--optimizer", "sgd", "--epochs", 3, "--schedule", schedule, "--out", schedule
        )
        final.append(weights(schedule)["layers.0.bias"])
    assert not np.array_equal(*final)
    rates = gn.optim.Cosine(0.1, steps=6).values(6)  # 48 samples, 32 at a time
    optimizer = optimizer_named("sgd", 0.1, "cosine", 6)
    np.testing.assert_array_equal(optimizer.learning_rate.values(6), rates)
    assert "--epochs" not in capsys.readouterr().out.partition("cosine")[2]
    assert "goes by 'cosine' over 3 epochs" in refused(
        capsys, "train", "--resume", "cosine", "--epochs", "4"
    )
    assert main(["train", "--resume", "cosine", "--epochs", "3"]) == 0


@pytest.mark.usefixtures("run")
def test_predictions_go_to_files(capsys):
    main(["predict", "runs/mlp-houses", "--data", "houses.csv"])
    printed = capsys.readouterr().out
    printed = printed[printed.index("class,") :]
    assert main(["predict", "runs/mlp-houses", "--data", "houses.csv", "--out", "p.csv"]) == 0
    assert Path("p.csv").read_text() == printed
    assert capsys.readouterr().out == "p.csv: 60 predictions\n"
    assert main(["predict", "runs/mlp-houses", "--data", "houses.csv", "--out", "p.npz"]) == 0
    found = gn.data.read_npz("p.npz")
    rows = list(csv.reader(printed.splitlines()[1:]))
    assert found["class"].tolist() == [row[0] for row in rows]
    np.testing.assert_array_equal(found["probability"], np.float32([row[1:] for row in rows]))
    with pytest.raises(SystemExit, match="2"):
        main(["predict", "runs/mlp-houses", "--data", "houses.csv", "--out", "p.txt"])
    assert "ends in none of .csv, .npz" in capsys.readouterr().err
    told = refused(
        capsys, "predict", "runs/mlp-houses", "--data", "houses.csv", "--out", "no/p.csv"
    )
    assert "no/p.csv cannot be written" in told


def test_sequences_of_all_lengths_are_learned_and_predicted(capsys):
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 7, 40)
    x = rng.normal(size=(40, 6, 2)) * (np.arange(6) < lengths[:, None])[..., None] + 0.0
    y = (x.sum(axis=(1, 2)) > 0).astype(np.int64)
    np.savez("waves.npz", x=x, y=y, lengths=lengths)
    train("gru", "--data", "waves.npz", "--epochs", 2, "--option", "hidden=3")
    _, rows = predicted(capsys, "runs/gru-waves", "--data", "waves.npz")
    # More padding, of whatever values, changes nothing.
    longer = np.concatenate([x, np.full((40, 3, 2), 9.0)], axis=1)
    np.savez("longer.npz", x=longer, lengths=lengths)
    _, again = predicted(capsys, "runs/gru-waves", "--data", "longer.npz")
    assert len(rows) == 40
    np.testing.assert_allclose(
        np.float64([row[1:] for row in again]), np.float64([row[1:] for row in rows]), rtol=1e-5
    )


# ----------------------------------------------------------------------------------------- resuming


def test_a_run_that_was_killed_and_stopped_ends_as_one_that_was_not(monkeypatch, capsys):
    houses()
    arguments = ["mlp", "--data", "houses.csv", "--drop", "id", "--option", "dropout=0.2"]
    arguments += ["--drop", "price", "--batch-size", "7", "--seed", "3", *PLAIN]
    begun = ["train", *arguments, "--epochs", "100000", "--out", "cut"]
    history = Path("cut/history.csv")
    with subprocess.Popen([sys.executable, "-P", "-m", "graphnn", *begun]) as process:
        until = time.monotonic() + SECONDS
        while not history.exists() or history.read_text().count("\n") < 3:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        process.kill()
    epochs = history.read_text().count("\n") + 4

    def stop(self, measured):
        if self.path == history and history.read_text().count("\n") >= epochs - 2:
            signal.raise_signal(signal.SIGINT)
        return log(self, measured)

    log = gn.train.CSVLogger.on_epoch_end
    monkeypatch.setattr(gn.train.CSVLogger, "on_epoch_end", stop)
    assert main(["train", "--resume", "cut"]) == 130
    told = capsys.readouterr().out
    assert "stopped  by Ctrl-C, after" in told
    assert told.endswith("go on    graphnn train --resume cut\n")
    monkeypatch.setattr(gn.train.CSVLogger, "on_epoch_end", log)
    assert history.read_text().count("\n") < epochs
    assert main(["train", "--resume", "cut", "--epochs", str(epochs)]) == 0
    assert main(["train", *arguments, "--out", "whole", "--epochs", str(epochs)]) == 0
    assert history.read_bytes() == Path("whole/history.csv").read_bytes()
    for which in ("best", "last"):
        cut, whole = weights("cut", which), weights("whole", which)
        for name, value in whole.items():
            np.testing.assert_array_equal(cut[name], value)


def test_ctrl_c_before_training_ends_with_130(monkeypatch, capsys):
    def interrupted(source):
        raise KeyboardInterrupt

    monkeypatch.setattr("graphnn.cli.train.read_samples", interrupted)
    assert main(["train", "mlp", "--data", "iris"]) == 130
    assert capsys.readouterr().err == "graphnn: interrupted\n"


def test_a_run_goes_on_with_its_own_data_and_options_only(run, trained, capsys):
    run.rename("a")
    settings = json.loads(Path("a/run.json").read_text())
    settings["data"]["files"] = [str(Path("houses.csv").resolve())]
    Path("a/run.json").write_text(json.dumps(settings))
    assert "goes on as it began, so --resume takes no MODEL, --lr" in refused(
        capsys, "train", "mlp", "--resume", "a", "--lr", "3"
    )
    assert "a holds a run already" in refused(
        capsys, "train", "mlp", "--data", "houses.csv", "--out", "a"
    )
    told = refused(capsys, "train", "--resume", "a", "--epochs", "1")
    assert "a has made 2 epochs already, more than 1" in told
    assert json.loads(Path("a/run.json").read_text())["epochs"] == 2
    Path("houses.csv").rename("moved.csv")
    assert "no file" in refused(capsys, "train", "--resume", "a")
    assert main(["train", "--resume", "a", "--data", "moved.csv", "--epochs", "3"]) == 0
    assert len(Path("a/history.csv").read_text().splitlines()) == 4
    assert json.loads(Path("a/run.json").read_text())["data"]["files"] == [
        str(Path("moved.csv").resolve())
    ]
    text = Path("moved.csv").read_text(encoding="utf-8")
    Path("moved.csv").write_text(text.replace("h7,", "h7,1"), encoding="utf-8")
    assert "the data are not those" in refused(capsys, "train", "--resume", "a")


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_is_used(run, capsys):
    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-9])
    whole = (run / "history.csv").read_bytes()
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["train", "--resume", str(run)]) == 0
    told = capsys.readouterr().err
    assert told.startswith("graphnn: warning: ")
    assert "the one before it is used" in told
    assert (run / "history.csv").read_bytes() == whole


def test_folders_that_are_no_runs_are_left_alone(capsys):
    houses()
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("years of work")
    told = refused(capsys, "train", "mlp", "--data", "houses.csv", "--drop", "id", "--out", "full")
    assert "full is not empty" in told
    assert "holds no run" in refused(capsys, "train", "--resume", "full")
    assert "holds no run" in refused(capsys, "predict", "full", "--data", "houses.csv")
    Path("full/run.json").write_text('{"format": 1, "network": "mlp"')
    assert "is damaged" in refused(capsys, "predict", "full", "--data", "houses.csv")
    Path("full/run.json").write_text('{"format": 1, "network": "mlp"}')
    assert "is damaged, or of another version" in refused(capsys, "train", "--resume", "full")


def test_runs_without_a_folder_get_a_new_one_each():
    assert chosen_folder("mlp", "some/where/houses.csv.gz") == Path("runs/mlp-houses")
    Path("runs/mlp-digits-2").mkdir(parents=True)
    assert chosen_folder("mlp", "digits") == Path("runs/mlp-digits")
    Path("runs/mlp-digits").mkdir()
    assert chosen_folder("mlp", "digits") == Path("runs/mlp-digits-3")


# -------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), ["MODEL", "model and data missing"]),
        (("mlp",), ["data missing", "--data digits"]),
        (("mlp", "--data", "nothing.csv"), ["no data set and no file 'nothing.csv'", "mnist_5k"]),
        (("mlp", "--data", "iris", "--target", "x"), ["--target is for files"]),
        (("mlp", "--data", "iris", "--delimiter", ";"), ["--delimiter is for files"]),
        (("mlp", "--data", "houses.csv", "--target", "x"), ["no column 'x'", "'rooms'"]),
        (("mlp", "--data", "houses.csv", "--drop", "x"), ["no column 'x'"]),
        (
            ("mlp", "--data", "houses.csv", "--drop", "id", "--option", "hiden=3"),
            ["mlp has no option 'hiden'", "hidden=64, activation=relu, dropout=0.0"],
        ),
        (
            ("lstm", "--data", "houses.csv", "--drop", "id"),
            ["lstm takes sequences", "of shape (6,)"],
        ),
        (
            ("mlp", "--data", "houses.csv", "--drop", "id", "--batch-size", "999"),
            ["the batch size 999 is larger"],
        ),
        (("mlp", "--data", "big.csv"), ["'name' has 101 different words", "--drop name"]),
        (("mlp", "--data", "gaps.csv"), ["'a' has no number in 1 of 3 rows", "row 2"]),
        (("mlp", "--data", "ids.csv"), ["150 different integers", "--task regression"]),
        (("mlp", "--data", "ids.csv", "--task", "regression", "--drop", "a"), ["no column to"]),
        (("mlp", "--data", "semicolons.csv"), ["the file has 'a;y'", "--delimiter"]),
        (("mlp", "--data", "words.csv", "--task", "regression"), ["finite numbers"]),
        (("mlp", "--data", "one.npz"), ["no array 'y', only 'x'"]),
        (("mlp", "--data", "pixels-idx"), ["two IDX files are needed"]),
    ],
)
def test_what_cannot_be_trained_is_told(arguments, said, capsys):
    houses()
    Path("big.csv").write_text("name,y\n" + "".join(f"n{i},0\n" for i in range(101)))
    Path("gaps.csv").write_text("a,y\n1,u\n,u\n2,v\n")
    Path("ids.csv").write_text("a,y\n" + "".join(f"1.5,{i}\n" for i in range(150)))
    Path("semicolons.csv").write_text("a;y\n1;u\n2;v\n")
    Path("words.csv").write_text("a,y\n1,u\n2,v\n")
    np.savez("one.npz", x=np.zeros((3, 2)))
    Path("pixels-idx").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 1, 7]))
    told = refused(capsys, "train", *arguments)
    for words in said:
        assert words in told
    assert "built at" not in told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("rooms,town\n3,Ur\n", ["'area'", "missing", "the file has 'rooms', 'town'"]),
        ("rooms,town,area\n3,Atlantis,4\n", ["'town' has 'Atlantis' in row 1", "'Ur'"]),
        ("rooms,town,area\n3,Ur,\n", ["'area' has no number"]),
        ("rooms,town,area\n3,Ur,many\n", ["'many' is no float32"]),
    ],
)
def test_tables_unlike_that_of_training_are_told(content, said, trained, capsys):
    Path("new.csv").write_text(content)
    told = refused(capsys, "predict", trained / "runs/mlp-houses", "--data", "new.csv")
    for words in said:
        assert words in told


def test_samples_of_another_shape_are_told(trained, capsys):
    np.savez("new.npz", x=np.zeros((2, 4)))
    told = refused(capsys, "predict", trained / "runs/mlp-houses", "--data", "new.npz")
    assert "samples of shape (4,) do not fit the network, which was trained on (5,)" in told


def test_curves_are_drawn_where_there_is_matplotlib(run, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(results, "find_spec", importlib.util.find_spec)
    assert main(["train", "--resume", str(run.resolve())]) == 0
    assert (run / "history.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mpl"], "'mlp', 'lenet'"),
        (["mlp", "--optimizer", "adma"], "'adam'"),
        (["mlp", "--epochs", "0"], "'0' is not a number of 1 or more"),
        (["mlp", "--lr", "-1"], "'-1' is not a number above 0"),
        (["mlp", "--validation", "1"], "'1' is not between 0 and 1"),
        (["mlp", "--shape", "2,x"], "'x' is not a number"),
    ],
)
def test_arguments_nobody_understands_end_with_2(arguments, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", *arguments])
    assert said in capsys.readouterr().err


ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["train", "predict", "bench"])
def test_commands_that_are_shown_are_understood(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    shown = [line.strip() for line in (PAGE + capsys.readouterr().out).splitlines()]
    shown = [line for line in shown if line.startswith(f"graphnn {command} ")]
    assert shown
    for line in shown:
        arguments = shlex.split(line.partition("|")[0])[1:]
        assert parser().parse_args(arguments).run


def test_the_page_names_all_there_is():
    for name in (*NETWORKS, *DATA_SETS, *(each.__name__.split(".")[-1] for each in COMMANDS)):
        assert f"`{name}`" in PAGE or f"`graphnn {name}`" in PAGE, name
    for network in NETWORKS.values():
        for option in network.options.items():
            assert f"`{option_text(*option)}`" in PAGE, option


# ------------------------------------------------------------------------------------ its parts


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_its_outputs(name):
    shape = {"rows": (5,), "pictures": (2, 14, 12), "sequences": (4, 3)}[NETWORKS[name].takes]
    given = {"mlp": ["hidden=7,6", "dropout=0.5"], "linear": [], "lenet": ["activation=tanh"]}
    options = options_from(name, given.get(name, ["hidden=4", "bidirectional=true", "layers=2"]))
    model = NETWORKS[name].build(shape, 3, options)
    x = gn.input("x", (2, *shape))
    assert model(x).shape == (2, 3)
    if name == "mlp":
        assert [each.weight.shape for each in model if hasattr(each, "weight")] == [
            (5, 7),
            (7, 6),
            (6, 3),
        ]


@pytest.mark.parametrize("text", ["hidden=0", "hidden=", "hidden=a", "dropout=x", "hidden"])
def test_options_of_no_value_of_their_type_are_told(text):
    with pytest.raises(gn.ArgumentError, match="hidden"):
        options_from("mlp", [text])
    with pytest.raises(gn.ArgumentError, match="cannot be 'yes'"):
        options_from("lstm", ["bidirectional=yes"])


def test_every_optimizer_takes_its_learning_rate():
    for name, (_, rate) in OPTIMIZERS.items():
        w = gn.parameter(1.0, name="w")
        optimizer = optimizer_named(name, rate, "constant", 10)
        step = gn.compile([], w, optimizer.minimize(gn.square(w), [w]), backend="reference")
        step()
        assert w.value != 1.0, name


@pytest.mark.parametrize("name", sorted(set(DATA_SETS) - {"mnist_5k"}))  # which takes a second
def test_data_sets_by_name_are_complete(name):
    try:
        samples = read_samples(Source((name,)))
    except gn.MissingPackageError as error:
        pytest.skip(str(error))
    for part in (samples, samples.tests) if samples.tests is not None else (samples,):
        assert len(part.targets) == len(part) > 35
        assert np.isfinite(part.x).all()
        assert bool(part.classes) != bool(part.values)
        if part.classes:
            assert np.unique(part.targets).tolist() == list(range(len(part.classes)))
        else:
            assert part.targets.shape == (len(part), len(part.values))
    known, unknown = held_out(samples, 0.2, seed=0)
    assert len(unknown) > 0
    if samples.in_time:
        np.testing.assert_array_equal(np.concatenate([known.x, unknown.x]), samples.x)


def test_pictures_are_read_from_idx_files_and_rows():
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    head = bytes([0, 0, 8, 3, *(byte for size in pixels.shape for byte in (0, 0, 0, size))])
    Path("images-idx3-ubyte").write_bytes(head + pixels.tobytes())
    Path("labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 5]))
    samples = read_samples(Source(("images-idx3-ubyte", "labels-idx1-ubyte")))
    np.testing.assert_array_equal(samples.x, pixels)
    assert (samples.classes, samples.targets.tolist()) == (("5", "7"), [1, 0])
    rows = "\n".join(",".join(map(str, row)) + ",1.5" for row in pixels.reshape(2, 12).tolist())
    Path("rows.csv").write_text(",".join(map(str, range(13))) + "\n" + rows)
    samples = read_samples(Source(("rows.csv",), shape=(3, 4)))
    np.testing.assert_array_equal(samples.x, pixels)
    assert (samples.values, samples.targets.tolist()) == (("12",), [[1.5], [1.5]])


def test_series_of_different_lengths_are_read():
    lines = ["@dimensions 2", "@classLabel true b a", "@data", "1,2,3:4,5,6:b", "7:8:a"]
    Path("small.ts").write_text("\n".join(lines))
    samples = read_samples(Source(("small.ts",)))
    assert samples.lengths.tolist() == [3, 1]
    assert samples.x.shape == (2, 3, 2)
    assert (samples.classes, samples.targets.tolist()) == (("a", "b"), [1, 0])


def test_padding_has_no_part_in_the_scale():
    x = np.float32([[[1.0], [3.0], [99.0]], [[5.0], [99.0], [99.0]]])
    samples = Samples(x, np.int64([0, 1]), ("a", "b"), np.int64([2, 1]))
    scale = Preparation.fitted("lstm", "sequences", samples)
    np.testing.assert_allclose(scale.inputs.mean, [3.0])
    found, lengths, labels = scale.arrays(samples)
    unit = np.sqrt(8 / 3)
    np.testing.assert_allclose(found[..., 0], [[-2 / unit, 0, 0], [2 / unit, 0, 0]], rtol=1e-6)
    assert (lengths.tolist(), labels.tolist()) == ([2, 1], [0, 1])
    again = Preparation.from_state("lstm", "sequences", scale.state())
    np.testing.assert_array_equal(again.arrays(samples)[0], found)
    with pytest.raises(gn.ArgumentError, match="differ in length"):
        Preparation.fitted("mlp", "rows", samples).arrays(samples)


def test_scales_of_rows_and_pictures():
    x = np.float32(np.random.default_rng(0).normal(2.0, 3.0, (50, 2, 3, 4)))
    samples = Samples(x, np.zeros((50, 1), np.float32), values=("y",))
    pictures = Preparation.fitted("lenet", "pictures", samples)
    np.testing.assert_allclose(pictures.inputs.mean[:, 0, 0], x.mean(axis=(0, 2, 3)), rtol=1e-5)
    rows = Preparation.fitted("mlp", "rows", samples)
    np.testing.assert_allclose(rows.inputs.mean, [x.mean()], rtol=1e-5)
    assert rows.arrays(samples)[0].shape == (50, 24)
    plain = Preparation.fitted("mlp", "rows", Samples(x[:, 0, 0], samples.targets, values=("y",)))
    np.testing.assert_allclose(plain.inputs.mean, x[:, 0, 0].mean(axis=0), rtol=1e-5)


def test_settings_are_read_as_they_were_written(run):
    folder = RunFolder(run)
    before, content = folder.load(), folder.run_file.read_bytes()
    assert (before.learning_rate, before.columns[0]) == (0.001, {"name": "rooms"})
    folder.save(before)
    assert folder.run_file.read_bytes() == content
