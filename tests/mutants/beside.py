"""Which tests stand beside a module: those that mirror the module's place or import the module, nearest first."""

import ast
from collections import deque
from pathlib import Path

ROOTS = ("services", "gateway", "deploy", "catalogue", "tests")
STEM_LETTERS = 5
# Whole stacks take a minute each and prove paths, not lines.
LEFT_OUT = ("tests/e2e/", "tests/chaos/", "tests/deploy/", "tests/mutants/")


class ImportGraph:
    """Who imports whom in a tree; a test also reaches what the conftest.py files above the test import."""

    def __init__(self, tree: Path) -> None:
        self._arrows: dict[str, set[str]] = {}
        for root in ROOTS:
            for path in sorted((tree / root).rglob("*.py")):
                file = path.relative_to(tree).as_posix()
                self._arrows[file] = _imported(tree, path) | _conftests(tree, path)

    def tests_beside(self, module: str) -> list[str]:
        """The test files of the module's service that reach the module, nearest first."""
        reached = self._distances(module)
        service = module.split("/")[0 if module.startswith("gateway/") else 1]
        tests = [
            file
            for file in reached
            if file.startswith(f"tests/{service}/") and Path(file).name.startswith("test_") and not _left_out(file)
        ]

        importers = [file for file, steps in reached.items() if steps == 1 and not file.startswith("tests/")]

        def far(file: str) -> tuple[bool, bool, bool, int, str]:
            its_own = reached[file] == 1 or any(_mirrors(file, importer) for importer in importers)
            elsewhere = Path(file).parent.name != Path(module).parent.name
            return not _mirrors(file, module), not its_own, elsewhere, reached[file], file

        return sorted(tests, key=far)

    def _distances(self, module: str) -> dict[str, int]:
        """Every file that imports the module, in how many steps."""
        back: dict[str, set[str]] = {}
        for file, imported in self._arrows.items():
            for other in imported:
                back.setdefault(other, set()).add(file)
        found, queue = {module: 0}, deque([module])
        while queue:
            file = queue.popleft()
            for importer in sorted(back.get(file, ())):
                if importer not in found:
                    found[importer] = found[file] + 1
                    queue.append(importer)
        return found


def _left_out(file: str) -> bool:
    return file.startswith(LEFT_OUT)


def _mirrors(file: str, module: str) -> bool:
    """Whether a test bears the module's name, or a word of the same stem: submitter.py and test_submitting.py."""
    ours, theirs = Path(module).stem, Path(file).stem.removeprefix("test_")
    return ours == theirs or (len(ours) >= STEM_LETTERS and theirs.startswith(ours[:STEM_LETTERS]))


def _imported(tree: Path, path: Path) -> set[str]:
    """The files of this tree that a file imports, at its top or within functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Import():
                names.update(alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module)
                names.update(f"{module}.{alias.name}" for alias in node.names)
            case ast.Constant(value=str(value)) if value.startswith(("services.", "gateway.")):
                names.add(value)  # a program that a test starts with -m
            case _:
                continue
    return {file for name in names for file in _files(tree, name)}


def _files(tree: Path, name: str) -> list[str]:
    if not name.replace(".", "").isidentifier():
        return []
    stem = name.replace(".", "/")
    return [file for file in (f"{stem}.py", f"{stem}/__init__.py", f"{stem}/__main__.py") if (tree / file).is_file()]


def _conftests(tree: Path, path: Path) -> set[str]:
    """The conftest.py files whose fixtures a test file has."""
    if not path.name.startswith("test_"):
        return set()
    folders = [folder for folder in path.parents if folder.is_relative_to(tree / "tests")]
    return {
        (folder / "conftest.py").relative_to(tree).as_posix()
        for folder in folders
        if (folder / "conftest.py").is_file()
    }
