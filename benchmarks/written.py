"""Results as they are kept: rows as JSON, and as a table in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling import machine

__all__ = ["write"]


def write(
    out: Path,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    cells: Sequence[Mapping[str, str]],
    note: str,
) -> None:
    """Print a table and write it, and the rows that it tells of.

    Parameters
    ----------
    out : Path
        A folder, made if it is not there.
    name : str
        Of the files, without ending.
    rows : sequence of mapping
        What was measured.
    cells : sequence of mapping of str to str
        The same by column, as it is shown.
    note : str
        How it was measured.
    """
    head = list(cells[0])
    lines = [f"| {' | '.join(each)} |" for each in (head, ["---"] * len(head))]
    lines += [f"| {' | '.join(each.values())} |" for each in cells]
    text = "\n".join(lines)
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    told = machine()
    result = {"machine": told, "rows": rows}
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    about = ", ".join(f"{what} {value}" for what, value in told.items())
    (out / f"{name}.md").write_text(f"{about}. {note}\n\n{text}\n")
