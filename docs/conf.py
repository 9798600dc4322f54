"""Settings of the documentation: `make docs` builds it with warnings as errors."""

import sys
from pathlib import Path

import e2e_jax

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "e2e_jax"
author = "The e2e_jax developers"
copyright = "2026, the e2e_jax developers"
version = release = e2e_jax.__version__

extensions = [
    "config_fields",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

html_theme = "furo"
html_title = "e2e_jax"
html_static_path = []

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Notebooks are stored without outputs and executed when the documentation is built.
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
