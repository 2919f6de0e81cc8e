"""From symbols, such as letters or phonemes, to the integers that a network is fed, and back."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from graphnn.core.arrays import as_array
from graphnn.core.errors import ArgumentError
from graphnn.core.op import Array
from graphnn.core.spec import shape_text

__all__ = ["Vocabulary"]


class Vocabulary:
    """Symbols and their integers, the *tokens*; the first three stand for no symbol.

    Parameters
    ----------
    symbols : iterable
        Anything hashable, each once: their tokens are 3, 4, ... in this order.

    Attributes
    ----------
    pad, start, end : int
        0, which fills sequences up as :func:`graphnn.data.pad_sequences` does; 1 and 2, which
        stand before and after a sequence.
    symbols : tuple
        Those given.

    Raises
    ------
    ArgumentError
        If there are no symbols, or one is given twice.

    Examples
    --------
    >>> import graphnn as gn
    >>> letters = gn.data.Vocabulary("abc")
    >>> letters.encode("cab", end=True)
    array([5, 3, 4, 2])
    >>> letters.decode([5, 3, 4, 2, 2])
    ('c', 'a', 'b')
    >>> len(letters)
    6
    """

    pad, start, end = 0, 1, 2

    def __init__(self, symbols: Iterable[Hashable]) -> None:
        self.symbols = tuple(symbols)
        self._tokens = {symbol: token for token, symbol in enumerate(self.symbols, 3)}
        if len(self._tokens) != len(self.symbols) or not self.symbols:
            twice = [each for each in self._tokens if self.symbols.count(each) > 1]
            raise ArgumentError(
                f"Vocabulary: {twice[0]!r} is given twice" if twice else "Vocabulary: no symbols",
                hint="Vocabulary.of(sequences) has every symbol that occurs, once",
            )

    @classmethod
    def of(cls, sequences: Iterable[Iterable[Any]]) -> Vocabulary:
        """All symbols that occur in sequences, in ascending order.

        Examples
        --------
        >>> import graphnn as gn
        >>> gn.data.Vocabulary.of(["bad", "cab"])
        <Vocabulary of 4 symbols: a b c d>
        """
        try:
            return cls(sorted({symbol for sequence in sequences for symbol in sequence}))
        except TypeError as error:
            raise ArgumentError(
                f"Vocabulary.of: sequences of symbols that can be put in order are needed: {error}",
                hint="Vocabulary(symbols) takes any hashable symbols in the order given",
            ) from error

    def __len__(self) -> int:
        """Number of tokens: symbols, and the three that are none."""
        return len(self.symbols) + 3

    def encode(self, sequence: Iterable[Any], *, start: bool = False, end: bool = False) -> Array:
        """The tokens of a sequence, int64.

        Parameters
        ----------
        sequence : iterable of symbols
        start, end : bool, default False
            Whether to put the start token before it, or the end token after it.

        Raises
        ------
        ArgumentError
            If a symbol is unknown.
        """
        tokens = [self.start] if start else []
        for symbol in sequence:
            if not isinstance(symbol, Hashable) or symbol not in self._tokens:
                raise ArgumentError(f"{self!r} has no {symbol!r}")
            tokens.append(self._tokens[symbol])
        return np.array(tokens + [self.end] * end, np.int64)

    def decode(self, tokens: Any) -> tuple[Any, ...]:
        """The symbols of one sequence of tokens, up to the first end token.

        Start tokens and padding are left out.

        Raises
        ------
        ArgumentError
            If it is not one sequence, or a number is no token.
        """
        array = as_array(tokens)
        if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
            raise ArgumentError(
                f"{self!r}: tokens are integers of shape (time,), not {array.dtype.name} of "
                f"{shape_text(array.shape)}",
                hint="[vocabulary.decode(row) for row in rows]" if array.ndim > 1 else None,
            )
        listed: Sequence[int] = array.tolist()
        kept = listed[: listed.index(self.end)] if self.end in listed else listed
        for token in kept:
            if not 0 <= token < len(self):
                raise ArgumentError(f"{self!r} has no token {token}: they are 0 to {len(self) - 1}")
        return tuple(self.symbols[token - 3] for token in kept if token > self.end)

    def __repr__(self) -> str:
        shown = " ".join(map(str, self.symbols[:8])) + (" ..." if len(self.symbols) > 8 else "")
        return f"<Vocabulary of {len(self.symbols)} symbols: {shown}>"
