"""The documentation site: `make docs` writes it to build/docs. rosdoc2 reads this file too (rosdoc2.yaml)."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

PACKAGE = ElementTree.parse(Path(__file__).parent.parent / "package.xml")

project = "smolvla_ros"
author = "The smolvla_ros maintainers"
copyright = "Apache-2.0"
release = PACKAGE.findtext("version")

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
# Links such as robots.md#limits are checked like all others.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
nitpicky = True

html_theme = "furo"
html_title = f"smolvla_ros {release}"
html_show_sphinx = False
copybutton_prompt_text = "$ "
