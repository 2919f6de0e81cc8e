"""Reading text files, as characters and as lines."""

from __future__ import annotations

from difflib import get_close_matches
from os import PathLike
from pathlib import Path

from graphnn.core.errors import ArgumentError

__all__ = ["read_lines", "read_text"]


def read_text(path: str | PathLike[str], *, encoding: str = "utf-8") -> str:
    r"""All characters of a text file.

    Parameters
    ----------
    path : path
    encoding : str, default "utf-8"

    Returns
    -------
    str
        Every line ends with ``"\n"``, whatever it ends with in the file; a mark of the byte order
        is left out.

    Raises
    ------
    FileNotFoundError
        Saying where was looked.
    ArgumentError
        Naming the line and the column where the file does not have this encoding, or that there
        is no such encoding.

    Examples
    --------
    >>> from pathlib import Path
    >>> import graphnn as gn
    >>> _ = Path("rhyme.txt").write_text("one, two\nbuckle my shoe\n")
    >>> text = gn.data.read_text("rhyme.txt")
    >>> letters = gn.data.Vocabulary.of([text])
    >>> letters.decode(letters.encode(text))[:3]
    ('o', 'n', 'e')
    """
    content = _bytes_of(Path(path))
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        found = content[error.start : error.end].hex(" ")
        raise ArgumentError(
            f"{path}:{line}, column {column}: the bytes {found} are no {encoding}: {error.reason}",
            hint="give its encoding, such as encoding='latin-1'",
        ) from None
    except LookupError as error:
        raise ArgumentError(f"{path}: {error}") from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _bytes_of(path: Path) -> bytes:
    """The content of a file; if there is none, it is said what to do."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        folder = path.absolute().parent
        what = f"it was looked for in {folder}" if folder.is_dir() else f"nor a folder {folder}"
        alike = get_close_matches(path.name, [each.name for each in folder.glob("*")], 1)
        hint = f"; is it {alike[0]!r}?" if alike else "; give the path from there, or a whole one"
        raise FileNotFoundError(
            error.errno, f"there is no such file, {what}{hint}", str(path)
        ) from None


def read_lines(path: str | PathLike[str], *, encoding: str = "utf-8") -> list[str]:
    r"""The lines of a text file, without their ends.

    Parameters, results and errors are otherwise those of :func:`read_text`.

    Examples
    --------
    >>> from pathlib import Path
    >>> import graphnn as gn
    >>> _ = Path("rhyme.txt").write_text("one, two\nbuckle my shoe\n")
    >>> gn.data.read_lines("rhyme.txt")
    ['one, two', 'buckle my shoe']
    """
    lines = read_text(path, encoding=encoding).split("\n")
    return lines if lines[-1] else lines[:-1]
