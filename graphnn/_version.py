"""The version number, in its single place."""

__version__ = "0.1.0"
