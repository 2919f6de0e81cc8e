"""Embedding: beside PyTorch's, its padding row, and codes that are no row."""

import numpy as np
import pytest
from beside_torch import compare, random

import graphnn as gn
from graphnn.core.errors import FeedError, ShapeError

TABLE = random(5, 3)


@pytest.mark.parametrize("padding", [None, 0, 2, -1])
@pytest.mark.parametrize("shape", [(7,), (2, 9), (3, 1, 4), (0,)], ids=str)
def test_values_and_gradients(padding: int | None, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    codes = np.random.default_rng(0).integers(0, 5, shape)
    compare(
        lambda table: gn.embedding(codes, table, padding_index=padding),
        lambda table: torch.nn.functional.embedding(
            torch.tensor(codes), table, padding_idx=padding
        ),
        TABLE,
    )


@pytest.mark.parametrize("padding", [1, -4])
@pytest.mark.parametrize("rows", [5, "rows"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "int8"])
def test_the_padding_row_has_no_derivative(padding: int, rows: int | str, dtype: str) -> None:
    table = gn.input("table", (rows, 3), "float64")
    codes = gn.input("codes", ("n",), dtype)
    given = np.array([1, 0, -4, -1, 4, 1], dtype)  # the padding is counted from both ends
    result = gn.embedding(codes, table, padding_index=padding)
    tangent = gn.jvp(result, table, gn.ones_like(table))
    slope = gn.vjp(result, table, gn.ones_like(result))
    value, forward, backward = gn.compile([table, codes], [result, tangent, slope])(TABLE, given)
    np.testing.assert_array_equal(value, TABLE[given])
    np.testing.assert_array_equal(forward[:, 0], [0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(backward[:, 0], [1.0, 0.0, 0.0, 0.0, 2.0])


def test_looking_up_costs_one_instruction() -> None:
    table, codes = gn.input("table", (5, 3), "float64"), gn.input("codes", ("n",), "int64")
    program = gn.compile([table, codes], gn.embedding(codes, table, padding_index=0))
    program(TABLE, [0, 1])
    assert [each.op.name for each in program.instructions] == ["gather"]


@pytest.mark.parametrize("code", [5, -6])
@pytest.mark.parametrize("padding", [None, 0])
def test_a_code_that_is_no_row_is_an_error(code: int, padding: int | None) -> None:
    with pytest.raises(ShapeError, match=f"index {code} is out of range for 5 elements"):
        gn.embedding([0, code], TABLE, padding_index=padding)
    codes = gn.input("codes", (2,), "int64")
    program = gn.compile(codes, gn.embedding(codes, TABLE, padding_index=padding))
    with pytest.raises(FeedError, match=f"index {code} is out of range for 5 elements"):
        program([0, code])


def test_a_padding_row_that_a_table_of_named_size_lacks_is_an_error() -> None:
    table = gn.input("table", ("rows", 3), "float64")
    program = gn.compile(table, gn.grad(gn.sum(gn.embedding([0], table, padding_index=-6)), table))
    assert program(random(6, 3))[0, 0] == 0.0
    with pytest.raises(ShapeError, match="the size rows - 6 is -1"):
        program(TABLE)
