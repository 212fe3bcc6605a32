"""Sphinx: the pages' sources are written by prepare.py, and nothing is run."""

from pathlib import Path

project = "pgnotes"
extensions = ["myst_nb", "sphinx_copybutton", "sphinx.ext.mathjax"]

nb_execution_mode = "off"  # the saved outputs are the truth
nb_number_source_lines = False
myst_enable_extensions = ["dollarmath", "amsmath", "html_image", "deflist", "attrs_inline"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "pgnotes"
html_static_path = [str(Path(__file__).parents[1] / "build" / "static")]
html_extra_path = [str(Path(__file__).parents[1] / "build" / "extra")]  # slides, which are pages by themselves
html_css_files = ["katex/katex.min.css", "style.css"]
html_js_files = ["player.js"]
mathjax_path = "katex/boot.js"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
copybutton_exclude = ".linenos, .gp"
