"""Sphinx configuration: `make docs` builds with warnings as errors into docs/_build."""

from graphnn import __version__

project = "graphnn"
author = "the graphnn authors"
project_copyright = author
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"graphnn {version}"
html_copy_source = False

# Cells of the tutorial run at every build; a cell that fails, fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 120
nb_execution_show_tb = True
myst_heading_anchors = 3

autodoc_typehints = "none"  # the docstrings give types in words
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
