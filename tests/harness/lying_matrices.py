"""Matrices that lie in memory in every way that a library can read."""

from graphnn.compiler.cuda.code import Matrix

__all__ = ["FORMS", "lying"]

FORMS = ("rows", "columns", "wide rows", "wide columns")


def lying(rng, batch, rows, columns, form, dtype):
    """An array of matrices, and how they lie."""
    extra = 3 if form.startswith("wide") else 0
    if form.endswith("rows"):
        whole = rng.normal(size=(batch, rows, columns + extra)).astype(dtype)
        array = whole[:, :, :columns]
    else:
        whole = rng.normal(size=(batch, columns, rows + extra)).astype(dtype)
        array = whole[:, :, :rows].swapaxes(1, 2)
    step, row, column = (each // array.itemsize for each in array.strides)
    return array, Matrix(row, column, step)
