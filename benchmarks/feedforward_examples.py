"""What the feedforward examples reach: each in full, in a process of its own, with its time.

Networks on MNIST are trained from three seeds, and beside each stands the same one in PyTorch, from
the same initial weights and with the same batches. Writes a table of the metrics, and the pictures
of the documentation.

    .venv/bin/python benchmarks/feedforward_examples.py [--out benchmarks/results] [--only NAME ...]
"""

from __future__ import annotations

from example_runs import Example, measure

SEEDS = 3


def in_pytorch(name: str) -> Example:
    """The networks of an example, trained by PyTorch."""
    return Example("torch_twins", SEEDS, "benchmarks", (name,), beside=name)


EXAMPLES = [
    Example("perceptron_gates"),
    Example("textbook_digits", SEEDS),
    in_pytorch("textbook_digits"),
    Example("lenet", SEEDS),
    in_pytorch("lenet"),
    Example("image_filters"),
    Example("batch_norm_and_dropout"),
    Example("monte_carlo_dropout"),
    Example("optimizer_race"),
    Example("tabular"),
]

if __name__ == "__main__":
    measure("Feedforward examples", "feedforward_examples", EXAMPLES, __doc__.partition("\n")[0])
