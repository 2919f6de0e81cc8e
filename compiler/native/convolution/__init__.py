"""Convolutions as native code: matrix products whose operands are found through windows."""

from graphnn.compiler.native.convolution.generate import generate, scratch_nbytes

__all__ = ["generate", "scratch_nbytes"]
