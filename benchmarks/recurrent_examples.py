"""What the recurrent examples reach: each in full, in a process of its own, with its time.

Writes a table of their metrics, and their pictures for the documentation.

    .venv/bin/python benchmarks/recurrent_examples.py [--out benchmarks/results] [--only NAME ...]
"""

from __future__ import annotations

from example_runs import Example, measure

EXAMPLES = [
    Example("sunspots"),
    Example("japanese_vowels"),
    Example("adding_problem"),
    Example("copy_memory"),
    Example("vanishing_gradients"),
    Example("hopfield_digits"),
    Example("spelling_to_phonemes"),
    Example("invent_words"),
]

if __name__ == "__main__":
    measure("Recurrent examples", "recurrent_examples", EXAMPLES, __doc__.partition("\n")[0])
