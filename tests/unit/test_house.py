"""The house: what the layers, names and files of the repository promise, held by tests that read them."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "detector"
MODULES = sorted(PACKAGE.rglob("*.py"))

# values and pure functions only; whatever reads a clock, a file, a socket or the environment stays out
PURE = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",  # values; reading the clock through it is refused by detector/domain/ruff.toml
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "html",  # escape
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "statistics",
    "string",
    "textwrap",
    "types",
    "typing",
}
REFUSED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
MOST_LINES = 400
LONG: dict[str, str] = {}  # path in the repository -> why it may be longer
TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "detector",
    "rules",
    "deploy",
    "tests",
    "Dockerfile",
    "Makefile",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "requirements.lock",
    "docs",
    "benchmarks",
}
BUILT = {"dist", "build", "state"}  # ignored by git


def _normalise(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def _prints(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno


def test_the_domain_imports_pure_modules_only() -> None:
    """Nothing under detector.domain imports a module that is neither its own nor on the list of pure ones."""
    graph = grimp.build_graph("detector", include_external_packages=True, cache_dir=None)
    domain = {"detector.domain", *graph.find_descendants("detector.domain")}
    impure = {
        f"{module} -> {imported}"
        for module in domain
        for imported in graph.find_modules_directly_imported_by(module)
        if imported not in domain and imported.partition(".")[0] not in PURE
    }
    assert not impure


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_keeps_the_house_rules(path: Path) -> None:
    """A module says what it is, is short, is named by a noun of the field, and prints only under detector/cli."""
    text = path.read_text()
    tree = ast.parse(text)
    name = str(path.relative_to(ROOT))
    assert ast.get_docstring(tree), f"{name}: the first line says what the module is"
    assert text.count("\n") <= MOST_LINES or name in LONG, f"{name}: longer than {MOST_LINES} lines; divide it"
    assert not REFUSED_NAMES & set(path.relative_to(ROOT).with_suffix("").parts), f"{name}: names nothing of the field"
    assert "cli" in path.relative_to(PACKAGE).parts or not list(_prints(tree)), f"{name}: only detector/cli prints"


def test_exceptions_to_the_length_are_still_needed() -> None:
    """A file that became short leaves the list of long ones."""
    assert [name for name in LONG if (ROOT / name).read_text().count("\n") <= MOST_LINES] == []


def test_the_top_level_holds_what_was_agreed() -> None:
    """The repository's top level has no file or folder beyond the agreed ones; dotfiles are free."""
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - BUILT <= TOP_LEVEL


def test_the_lock_holds_every_dependency() -> None:
    """Each dependency of pyproject.toml stands in requirements.lock with a version, every line with hashes, no address."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {_normalise(name) for name in project["dependencies"] + project["optional-dependencies"]["dev"]}
    lock = (ROOT / "requirements.lock").read_text()
    locked = re.split(r"\n(?=\S)", lock.strip())
    assert wanted <= {_normalise(block) for block in locked if "==" in block}
    assert [block for block in locked if "--hash=sha256:" not in block] == []
    assert "://" not in lock
