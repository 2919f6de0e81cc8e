"""CUDA code for kernels, contractions and moves, and how programs are launched on a device."""
