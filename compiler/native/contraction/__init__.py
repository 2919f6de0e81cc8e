"""Products of matrices as native code."""

from graphnn.compiler.native.contraction.generate import generate, scratch_nbytes

__all__ = ["generate", "scratch_nbytes"]
