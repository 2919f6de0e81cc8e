"""Write docs/ops.md, the table of all operations, from the registry.

Run it after adding or changing an operation. With ``--check`` nothing is written: the exit
status is 1, and the difference is printed, if docs/ops.md is out of date.
"""

import argparse
import difflib
import doctest
import inspect
import math
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

import graphnn as gn
from graphnn.core.dtypes import is_floating
from graphnn.core.node import Node
from graphnn.ops import load_all
from graphnn.ops.contract import OPERATIONS, Arg, Operation, Sample
from graphnn.ops.elementwise import ElementwiseOp

LARGEST = 12  # elements of an argument that is written out

PAGE = Path(__file__).with_name("ops.md")

HEAD = """\
<!-- Written by docs/generate_op_table.py from the registry. Do not edit it by hand. -->

# Operations

All operations that `graphnn` exports, by the module of `ops/` that defines them: {count} of them.
Their arguments may be nodes, arrays or Python numbers; [dtypes](dtypes.md) says how these mix.

- **Dtypes** are the kinds of dtype that an operation is tested in. An operation of floats alone
  converts integers to float32.
- **Derivative** names the modes of differentiation. *Forward* and *reverse* are both checked
  against central differences, to second order.
- **Conventions** are those at ties, kinks, singularities and infinities.

The examples share these imports:

```pycon
>>> import graphnn as gn
>>> import numpy as np
```
"""

COLUMNS = "| Operation | Value | Dtypes | Derivative | Conventions |\n|---|---|---|---|---|\n"

KINDS = {"b": "bool", "i": "integer", "f": "float", "c": "complex"}


def page() -> str:
    """The whole of docs/ops.md."""
    load_all()
    operations = sorted(OPERATIONS.values(), key=lambda each: (each.family, each.name))
    families = groupby(operations, key=lambda each: each.family)
    parts = [HEAD.format(count=len(operations))]
    parts += [section(family, list(members)) for family, members in families]
    return "\n".join(parts)


def section(family: str, members: list[Operation]) -> str:
    """A heading, the table and an example of every operation of one family."""
    about = inspect.getdoc(sys.modules[f"graphnn.ops.{family}"]) or ""
    text = f"## {family}\n\n{plain(about.splitlines()[0])}\n\n{COLUMNS}"
    text += "".join(map(row, members))
    examples = [list(written_example(each)) or computed_example(each) for each in members]
    return f"{text}\n```pycon\n" + "\n\n".join(map("\n".join, examples)) + "\n```\n"


def row(described: Operation) -> str:
    """A line of the table."""
    cells = [
        f"`{described.name}{signature(described)}`",
        plain(described.formula),
        dtypes(described),
        "forward, reverse" if described.differentiable else "none",
        plain(described.corner),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def signature(described: Operation) -> str:
    """The parameters with their defaults, without types."""
    parameters = inspect.signature(described.function).parameters.values()
    shown = []
    keyword_only = False
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and not keyword_only:
            shown.append("*")
            keyword_only = True
        star = "*" if each.kind is each.VAR_POSITIONAL else ""
        keyword_only = keyword_only or bool(star)
        default = "" if each.default is each.empty else f"={default_text(each.default)}"
        shown.append(f"{star}{each.name}{default}")
    return f"({', '.join(shown)})"


def default_text(value: Any) -> str:
    """A default as one would write it; never an address in memory."""
    if isinstance(value, np.dtype):
        return repr(value.name)
    if isinstance(value, Node) or " at 0x" in repr(value):
        return "..."
    return repr(value)


def dtypes(described: Operation) -> str:
    """The kinds of dtype of its array arguments, in words."""
    kinds = {arg.kind for sample in described.samples for arg in arrays(sample.args)}
    kinds |= {arg.kind for sample in described.samples for arg in arrays(sample.kwargs.values())}
    if kinds & {"float", "real"}:
        return ", ".join(KINDS[letter] for letter in described.dtypes)
    names = [name for name in ("bool", "int") if name in kinds]
    return ", ".join({"int": "integer"}.get(name, name) for name in names) or "–"


def arrays(values: Iterable[Any]) -> Iterator[Arg]:
    """The array arguments anywhere inside."""
    for value in values:
        if isinstance(value, Arg):
            yield value
        elif isinstance(value, tuple | list):
            yield from arrays(value)


def written_example(described: Operation) -> Iterator[str]:
    """The example of a docstring, line by line, without its imports."""
    for each in doctest.DocTestParser().get_examples(described.function.__doc__ or ""):
        if each.source.startswith("import "):
            continue
        first, *more = each.source.rstrip("\n").split("\n")
        yield f">>> {first}"
        yield from (f"... {line}".rstrip() for line in more)
        yield from each.want.rstrip("\n").split("\n") if each.want else ()


def computed_example(described: Operation) -> list[str]:
    """A call on small arrays, and what it gives, for a docstring without an example."""
    if isinstance(described.function, ElementwiseOp):
        call = f"gn.{described.name}({', '.join(operands_of(described))})"
    else:
        sample = next(each for each in described.samples if is_small(each))
        inside = [shown(each) for each in sample.args]
        inside += [f"{name}={shown(each)}" for name, each in sample.kwargs.items()]
        call = f"gn.{described.name}({', '.join(inside)})"
    call = f"gn.evaluate({call})"
    result = eval(call, {"gn": gn, "np": np})
    if isinstance(result, np.ndarray) and is_floating(result.dtype):
        # The last digits depend on the processor.
        call, result = f"{call}.round(3)", result.round(3)
    return [f">>> {call}", *repr(result).split("\n")]


def operands_of(described: Operation) -> Iterator[str]:
    """Three values for every operand of an elementwise operation, across its domain."""
    args = next(each.args for each in described.samples if is_small(each))
    for number, arg in enumerate(args):
        if arg.kind == "bool":
            yield "[True, False, True]"
            continue
        low, high = (arg.low, arg.high) if "f" in described.dtypes else (0, 3)
        values = [round(each, 1) for each in np.linspace(low, high, 4 + number).tolist()[1:4]]
        if "f" not in described.dtypes:
            values = [bool(each) if described.dtypes == "b" else int(each) for each in values]
        yield str(values)


def is_small(sample: Sample) -> bool:
    """Whether a sample is short enough to read, and not empty."""
    args = list(arrays([*sample.args, *sample.kwargs.values()]))
    return all(0 < math.prod(arg.shape) <= LARGEST for arg in args)


def shown(value: Any) -> str:
    """An argument as one would write it, with values in place of every `Arg`."""
    if isinstance(value, Arg):
        drawn = draw_values(value)
        return str(drawn.tolist())
    if isinstance(value, tuple | list):
        inside = ", ".join(map(shown, value))
        if isinstance(value, list):
            return f"[{inside}]"
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, np.ndarray | np.generic):
        return f"np.{value!r}" if not repr(value).startswith("np.") else repr(value)
    return repr(value)


def draw_values(arg: Arg) -> np.ndarray:
    """Values of an array argument, short to write and always the same."""
    if arg.values is not None:
        return np.reshape(arg.values, arg.shape)
    places = np.random.default_rng(0).permutation(math.prod(arg.shape)).reshape(arg.shape)
    if arg.kind == "bool":
        return places % 2 == 0
    spread = arg.low + (arg.high - arg.low) * (places + 0.5) / places.size
    return spread.astype(int) if arg.kind == "int" else spread.round(1)


def plain(text: str) -> str:
    """Docstring markup as Markdown."""
    without_roles = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    pieces = without_roles.replace("``", "`").split("`")
    pieces[::2] = [re.sub(r"([*_<])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def main() -> int:
    """Write the page, or compare it with the one that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is out of date")
    check = parser.parse_args().check
    text = page()
    if not check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    present = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if present == text:
        return 0
    difference = difflib.unified_diff(
        present.splitlines(), text.splitlines(), "docs/ops.md", "the registry", lineterm="", n=1
    )
    print("\n".join(difference))
    print("docs/ops.md is out of date: run python docs/generate_op_table.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
