"""Who is speaking? A recurrent net tells nine speakers apart by sequences of different lengths.

Utterances of two Japanese vowels, 7 to 29 steps of 12 channels, are padded to one length; the net
is told their lengths, so that padding changes nothing. It goes both ways, and its last states are
classified. Beside it stand always the same speaker, the nearest centroid and logistic regression
on the means of the channels.

What was chosen (cell, size, rates, epochs) was chosen by 3-fold cross-validation in the training
part; the test part had no say. Needs: pip install --no-deps aeon, whose files are read.

Run it: python examples/japanese_vowels.py [--quick]
"""

import argparse
import sys

import numpy as np

import graphnn as gn

SPEAKERS, CHANNELS, HIDDEN = 9, 12, 64
Part = tuple[np.ndarray, np.ndarray, np.ndarray]


class SpeakerNet(gn.nn.Module):
    """A gated recurrent net in both directions, and a linear classifier of its last states."""

    def __init__(self) -> None:
        self.net = gn.nn.GRU(CHANNELS, HIDDEN, batch_first=True, bidirectional=True)
        self.head = gn.nn.Sequential(gn.nn.Dropout(0.3), gn.nn.Dense(2 * HIDDEN, SPEAKERS))

    def forward(self, x: gn.Node, lengths: gn.Node) -> gn.Node:
        return self.head(self.net(x, lengths=lengths))


class MeanNet(gn.nn.Module):
    """Logistic regression on the mean of every channel."""

    def __init__(self) -> None:
        self.head = gn.nn.Dense(CHANNELS, SPEAKERS)

    def forward(self, x: gn.Node, lengths: gn.Node) -> gn.Node:
        return self.head(gn.sum(x, axis=1) / gn.expand_dims(gn.cast(lengths, x.dtype), 1))


def train(model: gn.nn.Module, train: Part, test: Part, epochs: int, seed: int) -> float:
    """The accuracy of a trained model on the test part."""
    x = gn.input("x", shape=("batch", *train[0].shape[1:]))
    lengths = gn.input("lengths", shape=("batch",), dtype="int64")
    speaker = gn.input("speaker", shape=("batch",), dtype="int64")
    loss = gn.losses.cross_entropy(model(x, lengths), speaker)
    updates = gn.optim.AdamW(1e-2, weight_decay=0.01).minimize(loss, model.parameters())
    step = gn.compile([x, lengths, speaker], loss, updates)
    guess = gn.compile([x, lengths], gn.argmax(model.eval()(x, lengths), axis=-1))
    batches = gn.data.Batches(*train, batch_size=30, shuffle=True, seed=seed)
    gn.train.fit(step, batches, epochs)
    return float(np.mean(gn.to_host(guess(*test[:2])) == test[2]))


def standardized(train: Part, test: Part) -> tuple[Part, Part]:
    """Channels of mean 0 and deviation 1 in the training part; padding is left alone."""
    steps = np.arange(train[0].shape[1])
    scale = gn.data.Standardizer().fit(train[0][steps < train[1][:, None]])

    def scaled(part: Part) -> Part:
        there = (steps < part[1][:, None])[..., None]
        return np.where(there, scale.transform(part[0]), np.float32(0)), *part[1:]

    return scaled(train), scaled(test)


def nearest_centroid(train: Part, test: Part) -> float:
    """The accuracy of the speaker whose mean of channels is nearest."""
    means, questions = (x.sum(axis=1) / lengths[:, None] for x, lengths, _ in (train, test))
    centroids = np.stack([means[train[2] == each].mean(axis=0) for each in range(SPEAKERS)])
    distances = np.sum((questions[:, None] - centroids) ** 2, axis=-1)
    return float(np.mean(np.argmin(distances, axis=1) == test[2]))


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="5 epochs and one net")
    quick = parser.parse_args().quick
    try:
        known, unknown = standardized(*gn.data.load_japanese_vowels())
    except gn.MissingPackageError as error:
        sys.exit(str(error))
    print(f"{len(known[0])} utterances for training, {len(unknown[0])} for testing; test accuracy:")
    found = {
        "accuracy, the most frequent speaker": np.bincount(unknown[2]).max() / len(unknown[2]),
        "accuracy, nearest centroid": nearest_centroid(known, unknown),
    }
    gn.seed(0)
    found["accuracy, logistic regression"] = train(MeanNet(), known, unknown, 100, seed=0)
    nets = []
    for seed in range(1 if quick else 5):
        gn.seed(seed)
        nets.append(train(SpeakerNet(), known, unknown, 5 if quick else 40, seed))
        found[f"accuracy, recurrent net, seed {seed}"] = nets[-1]
    found["accuracy, recurrent nets, mean"] = float(np.mean(nets))
    for name, accuracy in found.items():
        print(f"  {name.removeprefix('accuracy, '):26} {accuracy:.1%}")
    if not quick:
        assert min(nets) > found["accuracy, logistic regression"]
    return found


if __name__ == "__main__":
    main()
