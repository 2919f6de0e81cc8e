"""The demo of ``graphnn demo``: two networks on real data. Its code is in graphnn/cli/demo.py.

Run it: make demo, or python examples/demo.py --out folder
"""

import sys

from graphnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
