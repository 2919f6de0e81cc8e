"""Runs an example with its programs on the GPU: ``python example_on_gpu.py lenet.py --quick``.

Examples print, compare and draw results, which lie on the host here.
"""

import runpy
import sys

import pytest
from on_host import bring_results_home

if __name__ == "__main__":
    bring_results_home(pytest.MonkeyPatch())
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
