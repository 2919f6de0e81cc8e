"""XOR: a perceptron cannot learn it, because no line separates its classes; a hidden layer can.

Run it: python examples/xor.py
"""

import numpy as np

import graphnn as gn

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
AND = np.array([0, 0, 0, 1], dtype=np.float32)
XOR = np.array([0, 1, 1, 0], dtype=np.float32)


def perceptron_mistakes(labels: np.ndarray, epochs: int = 100) -> int:
    """Mistakes left after Rosenblatt's rule: w <- w + (label - output) * x."""
    x = gn.input("x", shape=(2,))
    label = gn.input("label")
    w = gn.parameter(np.zeros(2), name="w", dtype="float32")
    b = gn.parameter(0.0, name="b")
    output = gn.where(gn.dot(w, x) + b > 0.0, 1.0, 0.0)
    error = label - output
    learn = gn.compile([x, label], gn.abs(error), updates={w: w + error * x, b: b + error})
    for _ in range(epochs):
        mistakes = sum(int(learn(*sample)) for sample in zip(INPUTS, labels, strict=True))
        if mistakes == 0:
            break
    return mistakes


def mlp_probabilities(labels: np.ndarray, epochs: int = 300) -> np.ndarray:
    """What a network with four hidden neurons says after training on all samples."""
    gn.seed(0)
    x = gn.input("x", shape=("batch", 2))
    t = gn.input("t", shape=("batch",))
    model = gn.nn.Sequential(gn.nn.Dense(2, 4), gn.nn.Tanh(), gn.nn.Dense(4, 1))
    logits = gn.squeeze(model(x), axis=1)
    loss = gn.losses.binary_cross_entropy_with_logits(logits, t)
    step = gn.compile([x, t], loss, updates=gn.optim.Adam(0.05).minimize(loss, model.parameters()))
    batches = gn.data.Batches(INPUTS, labels, batch_size=4)
    history = gn.train.fit(step, batches, epochs, verbose=0)
    print(f"  loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.5f}")
    return gn.compile(x, gn.sigmoid(logits))(INPUTS)


def main() -> None:
    for name, labels in (("AND", AND), ("XOR", XOR)):
        print(f"perceptron, {name}: {perceptron_mistakes(labels)} mistakes in its last epoch")
    print("multilayer perceptron, XOR:")
    probabilities = mlp_probabilities(XOR)
    for inputs, probability in zip(INPUTS.astype(int), probabilities, strict=True):
        print(f"  {inputs[0]} xor {inputs[1]}: {probability:.3f}")
    assert perceptron_mistakes(AND) == 0
    assert perceptron_mistakes(XOR) > 0
    np.testing.assert_array_equal(probabilities > 0.5, XOR > 0.5)


if __name__ == "__main__":
    main()
