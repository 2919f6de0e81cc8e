"""A convolutional network on handwritten digits, and the digits that taught it most.

It is written with operations and parameters alone: conv, max_pool, a dense head. After training,
`gn.vmap` gives the gradient of every test image by itself; where it is large, the network is
unsure or wrong.

Run it: python examples/digits_cnn.py
"""

import numpy as np

import graphnn as gn

SEED, EPOCHS = 0, 15
RNG = np.random.default_rng(SEED)


def parameter(name: str, *shape: int) -> gn.Parameter:
    """Weights drawn as He et al. (2015) do for rectified units."""
    scale = np.sqrt(2.0 / np.prod(shape[1:]))
    return gn.parameter(RNG.normal(0.0, scale, shape), name=name, dtype="float32")


PARAMETERS = {
    "edges": parameter("edges", 16, 1, 3, 3),
    "edges_bias": gn.parameter(np.zeros(16), name="edges_bias", dtype="float32"),
    "shapes": parameter("shapes", 32, 16, 3, 3),
    "shapes_bias": gn.parameter(np.zeros(32), name="shapes_bias", dtype="float32"),
    "head": parameter("head", 10, 128),
}


def logits_of(images: gn.Node) -> gn.Node:
    """Scores of the ten digits for ``(batch, 64)`` pixels."""
    p = PARAMETERS
    x = gn.reshape(images, (-1, 1, 8, 8))
    x = gn.relu(gn.conv(x, p["edges"], p["edges_bias"], padding="same"))
    x = gn.max_pool(x, 2)
    x = gn.relu(gn.conv(x, p["shapes"], p["shapes_bias"], padding="same"))
    x = gn.max_pool(x, 2)
    return gn.flatten(x, 1) @ p["head"].T


def loss_of(images: gn.Node, labels: gn.Node) -> gn.Node:
    return gn.losses.cross_entropy(logits_of(images), labels)


def gradient_size(pixels: gn.Node, label: gn.Node) -> gn.Node:
    """How far one example would move the parameters, written for that example alone."""
    loss = loss_of(gn.expand_dims(pixels, 0), gn.expand_dims(label, 0))
    gradients = gn.grad(loss, PARAMETERS)
    return gn.sqrt(gn.sum(gn.stack([gn.sum(gn.square(each)) for each in gradients.values()])))


def main() -> None:
    gn.seed(SEED)
    pixels, labels = gn.data.load_digits()
    (x_train, t_train), (x_test, t_test) = gn.data.split(pixels, labels, test=0.25, seed=SEED)

    x = gn.input("x", shape=("batch", 64))
    t = gn.input("t", shape=("batch",), dtype="int64")
    loss = loss_of(x, t)
    updates = gn.optim.Adam(3e-3).minimize(loss, list(PARAMETERS.values()))
    step = gn.compile([x, t], loss, updates)
    batches = gn.data.Batches(x_train, t_train, batch_size=32, shuffle=True, seed=SEED)
    history = gn.train.fit(step, batches, EPOCHS, verbose=0)
    print(f"loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.4f}")

    # No loop over images: one program computes all of their gradients.
    sizes = gn.vmap(gradient_size)(x, t)
    inspect = gn.compile([x, t], [gn.argmax(logits_of(x), -1), sizes])
    guesses, size = gn.to_host(inspect(x_test, t_test))
    right = guesses == t_test
    print(f"accuracy on {len(t_test)} test images: {right.mean():.1%}")
    print(f"median size of an image's gradient: {np.median(size[right]):.4f} where it is right")
    for index in np.argsort(size)[::-1][:5]:
        print(f"  {size[index]:7.2f}: a {t_test[index]}, taken for a {guesses[index]}")
    assert right.mean() >= 0.97
    assert (~right).sum() == 0 or np.median(size[~right]) > 10 * np.median(size[right])


if __name__ == "__main__":
    main()
