"""Words that could be English: a character model reads the dictionary, and then makes up its own.

An LSTM learns what letter follows those before. It is measured in bits per character (the end of
a word counts as one) on words that it has never seen, beside two baselines: letters by their
frequency alone (unigram), and by the letter before (bigram).

Run it: python examples/invent_words.py [--quick] [--temperature 0.8]
"""

import argparse

import numpy as np

import graphnn as gn

SEED, LONGEST = 0, 12
EMBEDDING, HIDDEN, BATCH, RATE = 32, 192, 128, 4e-3


def load(every: int):
    """Training and test words as tokens and their number, letters, and all words there are.

    Of the words, every n-th is taken.
    """
    words, _ = gn.data.load_cmudict()
    known = [word for word in words if word.isalpha() and len(word) <= LONGEST]
    words = known[::every]
    letters = gn.data.Vocabulary.of(words)
    tokens, counts = gn.data.pad_sequences(
        [letters.encode(w, start=True, end=True) for w in words], batch_first=True
    )
    training, test = gn.data.split(tokens, counts, test=0.05, seed=SEED)
    return training, test, letters, set(known)


def train(model: gn.nn.Decoder, tokens: np.ndarray, counts: np.ndarray, epochs: int):
    """Adam, with a rate that falls to nothing; gives the program that measures the loss."""
    x, n = gn.input("x", ("batch", LONGEST + 2), "int64"), gn.input("n", ("batch",), "int64")
    loss = gn.losses.sequence_cross_entropy(model(x[:, :-1]), x[:, 1:], n - 1)
    batches = gn.data.Batches(tokens, counts, batch_size=BATCH, shuffle=True, drop_last=True)
    optimizer = gn.optim.Adam(RATE)
    done = gn.cast(optimizer.step, "float32") / (epochs * len(batches))
    optimizer.learning_rate = RATE * (1.0 - done)
    step = gn.compile([x, n], loss, optimizer.minimize(loss, model.parameters()))
    history = gn.train.fit(step, batches, epochs)
    print("bits of every epoch:", " ".join(f"{x / np.log(2):.3f}" for x in history["loss"]))
    return gn.compile([x, n], loss)


def counted_bits(training, test, size: int) -> tuple[float, float]:
    """Bits per character of unigrams and bigrams; every pair is counted once more than it is."""
    pairs = np.ones((size, size))
    for tokens, count in zip(*training, strict=True):
        np.add.at(pairs, (tokens[: count - 1], tokens[1:count]), 1)
    bigram = np.log2(pairs / pairs.sum(1, keepdims=True))
    unigram = np.log2(pairs.sum(0) / pairs.sum())
    before, after = (
        np.concatenate([row[begin : count + begin - 1] for row, count in zip(*test, strict=True)])
        for begin in (0, 1)
    )
    return float(-unigram[after].mean()), float(-bigram[before, after].mean())


def invent(model: gn.nn.Decoder, letters: gn.data.Vocabulary, many: int, temperature: float):
    step, state = model.decoding(model.zero_state(many))
    found = gn.nn.sample(
        step,
        state,
        letters.start,
        letters.end,
        LONGEST,
        key=gn.random.key(SEED),
        temperature=temperature,
    )
    words = gn.to_host(gn.compile([], found)()).tokens
    return ["".join(letters.decode(tokens)) for tokens in words]


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds; it learns little")
    parser.add_argument("--temperature", type=float, default=0.8, help="below 1: likelier words")
    chosen = parser.parse_args(arguments)

    gn.seed(SEED)
    training, test, letters, known = load(100 if chosen.quick else 1)
    print(f"{len(training[0])} words for training, {len(test[0])} for testing")
    model = gn.nn.Decoder(len(letters), EMBEDDING, HIDDEN)
    measure = train(model, *training, epochs=1 if chosen.quick else 3)

    unigram, bigram = counted_bits(training, test, len(letters))
    bits = float(measure(*test)) / np.log(2)
    print(f"bits per character: unigram {unigram:.3f}, bigram {bigram:.3f}, LSTM {bits:.3f}")

    invented = invent(model.eval(), letters, 200, chosen.temperature)
    new = [word for word in dict.fromkeys(invented) if word not in known]
    print(f"{len(new)} of {len(invented)} words that it invents are not in the dictionary:")
    for begin in range(0, min(len(new), 32), 8):
        print("  " + " ".join(new[begin : begin + 8]))
    if not chosen.quick:
        assert bits < bigram - 0.4 < unigram
    return {
        "bits per character, unigram": unigram,
        "bits per character, bigram": bigram,
        "bits per character, LSTM": bits,
        "share of invented words that are new": len(new) / len(invented),
    }


if __name__ == "__main__":
    main()
