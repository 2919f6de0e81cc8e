"""Tables: a regression and two classifications, beside the linear models of scikit-learn.

How far diabetes has got after a year (442 patients), whether a tumour is malignant (569), and from
which of three growers a wine is (178). Columns are standardised by the training part alone. Every
number is a mean over five divisions into training and test parts, the same for all models. With
tables this small a linear model is hard to beat: the networks come near it.

Run it: python examples/tabular.py [--quick]
"""

import argparse
from collections.abc import Callable

import numpy as np
from sklearn import datasets
from sklearn.linear_model import LinearRegression, LogisticRegression

import graphnn as gn

DIVISIONS, EPOCHS, HIDDEN, BATCH = 5, 30, 32, 32
CLASSES = {"breast_cancer": 2, "wine": 3}

Part = tuple[np.ndarray, ...]


def table(name: str, seed: int) -> tuple[Part, Part]:
    """Standardised columns and the targets, for training and for testing."""
    rows, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    (x, y), (x_test, y_test) = gn.data.split(np.float32(rows), targets, test=0.25, seed=seed)
    scale = gn.data.Standardizer().fit(x)
    return (scale.transform(x), y), (scale.transform(x_test), y_test)


def train(
    part: Part, outputs: int, cost: Callable[[gn.Node, gn.Node], gn.Node], epochs: int, seed: int
) -> gn.Program:
    """A program from rows to the outputs of a network that was trained on a part."""
    gn.seed(seed)
    features, targets = part
    x = gn.input("x", shape=("batch", features.shape[1]))
    y = gn.input("y", shape=("batch",), dtype=str(targets.dtype))
    model = gn.nn.Sequential(
        gn.nn.Dense(features.shape[1], HIDDEN),
        gn.nn.ReLU(),
        gn.nn.Dropout(0.3),
        gn.nn.Dense(HIDDEN, outputs),
    )
    loss = cost(model.train()(x), y)
    batches = gn.data.Batches(*part, batch_size=BATCH, shuffle=True, seed=seed)
    optimizer = gn.optim.AdamW(gn.optim.Cosine(1e-2, epochs * len(batches)), weight_decay=0.1)
    step = gn.compile([x, y], loss, optimizer.minimize(loss, model.parameters()))
    gn.train.fit(step, batches, epochs)
    return gn.compile(x, model.eval()(x))


def squared_error(outputs: gn.Node, targets: gn.Node) -> gn.Node:
    return gn.losses.mse(gn.squeeze(outputs, axis=1), targets)


def regression(epochs: int, seed: int) -> dict[str, float]:
    """Root mean square errors, in points of the measure of the disease, from 25 to 346."""
    (x, y), (x_test, y_test) = table("diabetes", seed)
    scale = gn.data.Standardizer().fit(y)
    part = x, np.float32(scale.transform(y))
    network = train(part, 1, squared_error, epochs, seed)
    said = {
        "always the mean": np.full(len(y_test), y.mean()),
        "linear regression": LinearRegression().fit(x, y).predict(x_test),
        "network": scale.inverse_transform(gn.to_host(network(x_test))[:, 0]),
    }
    return {name: float(np.sqrt(np.mean((y_test - each) ** 2))) for name, each in said.items()}


def classification(name: str, epochs: int, seed: int) -> dict[str, float]:
    """Accuracies."""
    (x, y), (x_test, y_test) = table(name, seed)
    network = train((x, y), CLASSES[name], gn.losses.cross_entropy, epochs, seed)
    said = {
        "always the most frequent": np.full(len(y_test), np.bincount(y).argmax()),
        "logistic regression": LogisticRegression().fit(x, y).predict(x_test),
        "network": gn.to_host(network(x_test)).argmax(axis=1),
    }
    return {each: float(np.mean(guesses == y_test)) for each, guesses in said.items()}


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one division, and three epochs")
    quick = parser.parse_args().quick
    divisions, epochs = (1, 3) if quick else (DIVISIONS, EPOCHS)
    found: dict[str, float] = {}
    for name in ("diabetes", *CLASSES):
        runs = [
            classification(name, epochs, seed) if name in CLASSES else regression(epochs, seed)
            for seed in range(divisions)
        ]
        measure = "accuracy" if name in CLASSES else "root mean square error"
        print(f"{name}, {measure}")
        for model in runs[0]:
            mean = float(np.mean([run[model] for run in runs]))
            print(f"  {model:25} {mean:.1%}" if name in CLASSES else f"  {model:25} {mean:.1f}")
            found[f"{name}, {measure}, {model}"] = mean
    if not quick:
        assert found["diabetes, root mean square error, network"] < 58.0
        assert found["breast_cancer, accuracy, network"] > 0.96
        assert found["wine, accuracy, network"] > 0.94
    return found


if __name__ == "__main__":
    main()
