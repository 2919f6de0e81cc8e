"""Native code for the CPU: kernels become LLVM IR, object code, and one call per step."""
