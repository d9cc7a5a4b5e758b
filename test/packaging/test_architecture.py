"""The shape of the house: imports run one way, no circle, every public class name stands once."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "smolvla_ros"


@pytest.fixture(scope="module")
def modules(repository: Path) -> dict[str, ast.Module]:
    """The syntax tree of every module of the package by its dotted name."""
    root = repository / PACKAGE
    return {
        ".".join((PACKAGE, *file.relative_to(root).with_suffix("").parts)): ast.parse(file.read_text(encoding="utf-8"))
        for file in sorted(root.rglob("*.py"))
    }


def imported(name: str, tree: ast.Module) -> Iterator[str]:
    """Dotted names that a module imports from the package, also inside functions; `from a import b` gives `a.b`."""
    package = name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(PACKAGE + "."))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join((*base, *([node.module] if node.module else [])))
            if source == PACKAGE or source.startswith(PACKAGE + "."):
                yield from (f"{source}.{alias.name}" for alias in node.names)


def resolved(target: str, known: dict[str, ast.Module]) -> str | None:
    """The module that an imported name lies in."""
    parts = target.split(".")
    while parts:
        for candidate in (".".join(parts), ".".join((*parts, "__init__"))):
            if candidate in known:
                return candidate
        parts.pop()
    return None


def folder(module: str) -> str:
    """The folder below the package; a module beside the folders stands for itself."""
    return module.split(".")[1]


def test_no_module_imports_itself_by_a_detour(modules):
    graph = {
        name: {m for t in imported(name, tree) if (m := resolved(t, modules)) and m != name}
        for name, tree in modules.items()
        if not name.endswith("__init__")
    }
    TopologicalSorter(graph).prepare()  # raises CycleError and names the circle


def test_folders_import_one_way(modules):
    graph: dict[str, set[str]] = defaultdict(set)
    for name, tree in modules.items():
        targets = {folder(m) for t in imported(name, tree) if (m := resolved(t, modules))}
        graph[folder(name)] |= targets - {folder(name), "msg", "__init__"}
    TopologicalSorter(graph).prepare()


def test_every_public_class_name_stands_once(modules):
    places = defaultdict(list)
    for name, tree in modules.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
