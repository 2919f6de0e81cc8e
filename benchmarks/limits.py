"""What this machine can do at most: fused multiply-adds from registers, copying memory.

.venv/bin/python benchmarks/limits.py [--threads 1]
"""

from __future__ import annotations

import argparse

from graphnn.compiler.native.limits import (
    copy_bandwidth,
    measured_limits,
    multiply_add_peak,
)

__all__ = ["copy_bandwidth", "multiply_add_peak"]


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    limits = measured_limits(parser.parse_args().threads)
    print(f"{limits.flops / 1e9:8.1f} GFLOP/s, float32 multiply-adds")
    for nbytes, bandwidth in limits.bandwidths:
        print(f"{bandwidth / 1e9:8.1f} GB/s read and written, copying {nbytes:,} bytes")


if __name__ == "__main__":
    main()
