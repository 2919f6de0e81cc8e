"""A small training step with most kinds of kernels, on the GPU: what compute-sanitizer watches."""

import numpy as np

import graphnn as gn


def main() -> None:
    """Labels, a table, an LSTM, a convolution, pooling, sums, products and an optimizer."""
    rng = np.random.default_rng(0)
    words, pixels = gn.input("words", (4, 6), "int64"), gn.input("pixels", (4, 1, 9, 9))
    labels = gn.input("labels", (4,), "int64")
    table, net = gn.nn.Embedding(11, 8), gn.nn.LSTM(8, 16)
    seen, last = gn.nn.Conv2d(1, 3, 3), gn.nn.Dense(16 + 3 * 9, 5)
    pooled = gn.nn.MaxPool(2)(gn.relu(seen(pixels)))
    read = net(gn.swapaxes(table(words), 0, 1))
    loss = gn.losses.cross_entropy(
        last(gn.concatenate([read, gn.reshape(pooled, (4, 27))], 1)), labels
    )
    parameters = [each for part in (table, net, seen, last) for each in part.parameters()]
    updates = gn.optim.Adam(1e-2).minimize(loss, parameters, max_norm=1.0)
    step = gn.compile([words, pixels, labels], loss, updates, backend="cupy")
    feeds = (
        rng.integers(0, 11, (4, 6)),
        rng.normal(size=(4, 1, 9, 9)).astype("float32"),
        rng.integers(0, 5, 4),
    )
    for _ in range(4):  # one by one, recorded, and the recording
        print(float(step(*feeds)))


if __name__ == "__main__":
    main()
