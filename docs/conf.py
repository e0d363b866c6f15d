# SPDX-License-Identifier: GPL-2.0-only
"""How Sphinx builds this documentation. Nothing is downloaded, and the pages load nothing from elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import kvm_ref

_HERE = Path(__file__).parent
# The extensions of this folder, and of the tests what finds the text of a kernel.
sys.path[:0] = [str(_HERE / "extensions"), str(_HERE.parent / "tests")]

project = "kvm-ref"
author = "the kvm-ref contributors"
project_copyright = author
version = release = kvm_ref.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "command_help",
    "ladders",
    "listings",
    "support",
]
exclude_patterns = ["example-project/**"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

nitpicky = True
# The standard library has a documentation of its own; there are no links to it, as nothing is downloaded.
nitpick_ignore_regex = [
    ("py:.*", r"(?!kvm_ref\.).*"),
    # Named in signatures, but not for users.
    ("py:class", r"kvm_ref\.kernel\._StaticsByClass"),
    ("py:class", r"kvm_ref\.(plans|judges\.index|tree\.\w+)\.\w+"),
]
default_role = "code"
highlight_language = "none"
pygments_style = "friendly"
pygments_dark_style = "monokai"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"kvm-ref {version}"
html_static_path = ["static"]
html_css_files = ["kvm-ref.css"]
html_copy_source = False
html_last_updated_fmt = None
