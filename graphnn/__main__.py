"""``python -m graphnn``: the same as the command ``graphnn``."""

from graphnn.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
