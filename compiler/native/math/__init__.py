"""Vector math: elementary and special functions as LLVM IR, for scalars and vectors alike.

Every function takes and gives `Lanes` and is branch free, but for rare cases that are sent lane by
lane to the C library. Each lane is computed alone by IEEE operations: the same argument gives the
same bits in a scalar, in a vector of any width and in any lane. The polynomials were fitted with
the Remez algorithm in 50 digits or more, unless a source is named. The table
in docs/vector_math.md states the largest errors.
"""
