"""Vector math: elementary and special functions as LLVM IR, for scalars and vectors alike.

Every function takes and gives `Lanes` and is branch free, but for rare cases that are sent lane by
lane to the C library. Each lane is computed alone by IEEE operations: the same argument gives the
same bits in a scalar, in a vector of any width and in any lane. The polynomials were fitted with
the Remez algorithm in 60 digits, relative to the function, unless a source is named. The tables
in docs/vector_math.md state the largest errors.
"""
