"""Products of matrices as native code; `generate.generate` is the entrance."""
