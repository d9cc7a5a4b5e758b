"""The folders of `bags` build on one another in one direction."""

import ast

# Each may import those before it.
ORDER = ("storage", "recording", "replay", "diagnosis", "many", "report", "dataset")
BESIDE = {("recording", "replay"), ("replay", "dataset"), ("diagnosis", "dataset"), ("report", "dataset")}


def folders_imported(file, root):
    """The folders of `bags` that a module imports from, with absolute and relative imports."""
    package = ["smolvla_ros", "bags", *file.relative_to(root).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            parts = [*above, *(node.module or "").split(".")]
            if parts[:2] == ["smolvla_ros", "bags"]:
                yield from ({parts[2]} if len(parts) > 2 and parts[2] else {name.name for name in node.names})


def test_no_folder_of_bags_imports_one_above_it_or_one_that_it_has_no_business_with(repository):
    root = repository / "smolvla_ros" / "bags"
    assert {folder.name for folder in root.iterdir() if folder.is_dir()} - {"__pycache__"} == set(ORDER)
    arrows = {(folder, other) for folder in ORDER for file in (root / folder).glob("*.py")
              for other in folders_imported(file, root) if other in ORDER and other != folder}  # fmt: skip
    upward = {(folder, other) for folder, other in arrows if ORDER.index(other) > ORDER.index(folder)}
    assert upward == set()
    assert arrows & {(above, below) for below, above in BESIDE} == set()
    assert ("diagnosis", "replay") in arrows
