"""The command line, ``graphnn``: a file for each command; ``main.py`` puts them together."""
