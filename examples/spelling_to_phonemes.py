"""How is a word pronounced? A net with attention learns it from the CMU Pronouncing Dictionary.

An encoder reads the letters in both directions; a decoder says one phoneme after the other and
looks at the letters that it needs. It is measured on words that it has never seen, by the phoneme
error rate (insertions, deletions and substitutions per phoneme) and by how many words are right
as a whole. The baseline says for every letter the phoneme that it most often stands for.

Run it: python examples/spelling_to_phonemes.py [--quick] [--out folder]
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import graphnn as gn

SEED, LONGEST = 0, 12
BUCKETS = (6, 8, LONGEST)  # words of similar length share a batch, so that little is padding
EMBEDDING, HIDDEN, BATCH, RATE = 64, 128, 128, 4e-3
SHOWN = ("knight", "colonel", "schedule", "chestnuts", "economically", "thoughtful")
"""None of them is among the words for training."""


class Buckets:
    """Batches of words of similar length, from all lengths in random order."""

    def __init__(
        self, arrays: tuple[np.ndarray, ...], batch_size: int, bounds: tuple[int, ...]
    ) -> None:
        letters, n_letters, sounds, n_sounds = arrays
        longest = np.maximum(n_letters, n_sounds - 2)  # without start and end
        bucket = np.searchsorted(bounds, longest)
        self.batches = []
        for number, bound in enumerate(bounds):
            chosen = bucket == number
            parts = letters[:, :bound], n_letters, sounds[:, : bound + 2], n_sounds
            size = min(batch_size, chosen.sum())
            self.batches.append(
                gn.data.Batches(
                    *(part[chosen] for part in parts), batch_size=size, shuffle=True, drop_last=True
                )
            )

    def __len__(self) -> int:
        return sum(map(len, self.batches))

    def __iter__(self):
        order = np.repeat(np.arange(len(self.batches)), list(map(len, self.batches)))
        np.random.default_rng([SEED, self.batches[0].epoch]).shuffle(order)
        under_way = list(map(iter, self.batches))
        for number in order:
            yield next(under_way[number])


def load(every: int):
    """Training and test words as arrays, and letters and phonemes; of the words, every n-th."""
    pairs = [
        (word, sounds)
        for word, sounds in zip(*gn.data.load_cmudict(), strict=True)
        if word.isalpha() and max(len(word), len(sounds)) <= LONGEST
    ]
    words, pronunciations = zip(*pairs[::every], strict=True)
    letters, phonemes = gn.data.Vocabulary.of(words), gn.data.Vocabulary.of(pronunciations)
    arrays = (
        *gn.data.pad_sequences([letters.encode(word) for word in words], batch_first=True),
        *gn.data.pad_sequences(
            [phonemes.encode(p, start=True, end=True) for p in pronunciations], batch_first=True
        ),
    )
    training, test = gn.data.split(*arrays, test=0.05, seed=SEED)
    return training, test, letters, phonemes


def build(letters: int, phonemes: int) -> gn.nn.EncoderDecoder:
    encoder = gn.nn.Encoder(letters, EMBEDDING, HIDDEN, bidirectional=True)
    attention = gn.nn.DotAttention(HIDDEN, 2 * HIDDEN)
    decoder = gn.nn.Decoder(phonemes, EMBEDDING, HIDDEN, attention=attention)
    return gn.nn.EncoderDecoder(encoder, decoder)


def train(model: gn.nn.EncoderDecoder, batches: Buckets, epochs: int) -> None:
    """Adam, with a rate that falls to nothing."""
    spelling = gn.input("spelling", ("batch", "letters"), dtype="int64")
    sounds = gn.input("sounds", ("batch", "phonemes"), dtype="int64")
    n_letters, n_sounds = (gn.input(f"n_{x}", ("batch",), dtype="int64") for x in ("l", "s"))
    logits = model(spelling, sounds[:, :-1], n_letters)
    loss = gn.losses.sequence_cross_entropy(logits, sounds[:, 1:], n_sounds - 1)
    optimizer = gn.optim.Adam(RATE)
    done = gn.cast(optimizer.step, "float32") / (epochs * len(batches))
    optimizer.learning_rate = RATE * (1.0 - done)
    updates = optimizer.minimize(loss, model.parameters())
    step = gn.compile([spelling, n_letters, sounds, n_sounds], loss, updates)
    history = gn.train.fit(step, batches, epochs)
    print("loss of every epoch:", " ".join(f"{loss:.3f}" for loss in history["loss"]))


def decoders(model: gn.nn.EncoderDecoder, phonemes: gn.data.Vocabulary):
    """Programs from words to pronunciations: greedy, and with a beam of 5."""
    spelling = gn.input("spelling", ("batch", LONGEST), dtype="int64")
    n_letters = gn.input("n_letters", ("batch",), dtype="int64")
    step, state = model.decoding(spelling, n_letters)
    greedy = gn.nn.greedy(step, state, phonemes.start, phonemes.end, LONGEST + 1)
    beam = gn.nn.beam_search(step, state, phonemes.start, phonemes.end, 5, LONGEST + 1)
    return gn.compile([spelling, n_letters], greedy), gn.compile([spelling, n_letters], beam)


def rates(said: list[tuple[str, ...]], right: list[tuple[str, ...]]) -> tuple[float, float]:
    """Phoneme error rate, and the fraction of words that are right."""
    right_words = sum(one == other for one, other in zip(said, right, strict=True))
    return gn.metrics.error_rate(said, right), right_words / len(right)


def letter_by_letter(training, test, letters, phonemes) -> list[tuple[str, ...]]:
    """The baseline, counted where a word has as many phonemes as letters."""
    counts = defaultdict(Counter)
    for word, n, sounds, n_sounds in zip(*training, strict=True):
        if n == n_sounds - 2:
            for letter, sound in zip(word[:n], sounds[1:], strict=False):
                counts[letter][sound] += 1
    usual = {letter: found.most_common(1)[0][0] for letter, found in counts.items()}
    rows = zip(*test[:2], strict=True)
    return [phonemes.decode([usual[x] for x in word[:n] if x in usual]) for word, n in rows]


def draw_attention(model, word, letters, phonemes, greedy, path: Path) -> None:
    """Which letters the net looks at while it says each phoneme."""
    spelling = np.zeros((1, LONGEST), np.int64)
    spelling[0, : len(word)] = letters.encode(word)
    found = gn.to_host(greedy(spelling, np.array([len(word)])))
    said = phonemes.decode(found.tokens[0])
    given = phonemes.encode(said, start=True)[None]
    weights = gn.evaluate(model.alignments(spelling, given, np.array([len(word)])))
    figure = Figure(figsize=(5.0, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.imshow(weights[0, :, : len(word)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(word)), list(word))
    axes.set_yticks(range(len(said) + 1), [*said, "end"])
    axes.set(title=f"Where the net looks while it says {word}")
    figure.savefig(path)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds; it learns little")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="for the picture")
    chosen = parser.parse_args(arguments)

    gn.seed(SEED)
    training, test, letters, phonemes = load(400 if chosen.quick else 1)
    test = [part[:3_000] for part in test]
    print(f"{len(training[0])} words for training, {len(test[0])} for testing")
    model = build(len(letters), len(phonemes))
    # Every size is compiled anew: in short, there is one.
    batches = Buckets(training, BATCH, BUCKETS[-1:] if chosen.quick else BUCKETS)
    train(model, batches, 1 if chosen.quick else 4)

    right = [phonemes.decode(row) for row in test[2]]
    greedy, beam = decoders(model.eval(), phonemes)
    said = {
        "letter by letter": letter_by_letter(training, test, letters, phonemes),
        "net, greedy": [phonemes.decode(row) for row in gn.to_host(greedy(*test[:2])).tokens],
        "net, beam of 5": [phonemes.decode(row[0]) for row in gn.to_host(beam(*test[:2])).tokens],
    }
    found = {name: rates(each, right) for name, each in said.items()}
    for name, (errors, words) in found.items():
        print(f"  {name:16}  phoneme error rate {errors:6.1%}   words right {words:6.1%}")

    spelling, lengths = gn.data.pad_sequences(
        [letters.encode(word) for word in SHOWN], LONGEST, batch_first=True
    )
    hypotheses = gn.to_host(beam(spelling, lengths))
    print("words that it has never seen:")
    for word, tokens, scores in zip(SHOWN, hypotheses.tokens, hypotheses.scores, strict=True):
        best = (f"{' '.join(phonemes.decode(tokens[n]))} ({np.exp(scores[n]):.0%})" for n in (0, 1))
        print(f"  {word}: {', or '.join(best)}")
    chosen.out.mkdir(parents=True, exist_ok=True)
    draw_attention(model, SHOWN[-1], letters, phonemes, greedy, chosen.out / "attention.png")
    if not chosen.quick:
        assert found["net, beam of 5"][0] < 0.12 < found["letter by letter"][0]
    return {
        f"{what}, {name}": rate
        for name, each in found.items()
        for what, rate in zip(("phoneme error rate", "words right"), each, strict=True)
    }


if __name__ == "__main__":
    main()
