"""The tree is the chain: a package of include/churn imports only packages that stand before it."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CHURN = REPOSITORY / "include" / "churn"

FLAT = {"as_of", "code", "outcome", "reason", "settings", "statistics", "value"}
"""Modules that every package may import. They import no package."""

ORDER = (
    "postgres",
    "drops",
    "features",
    "spark",
    "scoring",
    "registry",
    "training",
    "gate",
    "scores",
    "drift",
    "outcomes",
    "report",
    "reproduction",
    "retention",
    "erasure",
    "board",
    "operations",
    "synthetic",
)

FORBIDDEN = {
    "include/churn": {"airflow", "flask", "dags", "serving", "embedded", "bench", "containers"},
    "serving": {"airflow", "dags", "embedded", "bench", "containers"},
    "dags": {"serving", "embedded", "bench", "containers"},
    "plugins": {"serving", "dags", "embedded", "bench", "containers"},
    "embedded": {"dags", "bench", "containers"},
    "containers": {"serving", "dags", "bench"},
}
"""The folders and packages that a folder does not import."""


def imported_by(path: Path) -> set[str]:
    """Return the full names of the modules that a file imports, also within its functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                names |= {each.name for each in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                names |= {module} | {f"{module}.{each.name}" for each in node.names}
    return names


def packages_imported() -> dict[str, set[str]]:
    """Return the packages and flat modules of churn that each of them imports."""
    names = {path.stem for path in CHURN.glob("*.py")} | {path.parent.name for path in CHURN.glob("*/__init__.py")}
    found = defaultdict(set)
    for path in CHURN.rglob("*.py"):
        importing = path.relative_to(CHURN).with_suffix("").parts[0]
        parts = (name.split(".") for name in imported_by(path))
        found[importing] |= {each[1] for each in parts if each[0] == "churn" and each[1:] and each[1] in names}
    return {importing: imported - {importing} for importing, imported in found.items()}


def test_every_package_and_flat_module_has_its_place():
    assert set(packages_imported()) == {*ORDER, *FLAT, "__init__"}


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_packages_that_stand_before_it(package):
    assert packages_imported()[package] - FLAT <= set(ORDER[: ORDER.index(package)])


def test_no_modules_import_each_other_in_a_circle():
    paths = {".".join(path.relative_to(CHURN.parent).with_suffix("").parts): path for path in CHURN.rglob("*.py")}
    imported = {name: imported_by(path) & paths.keys() for name, path in paths.items()}
    # Raises CycleError, which names the circle.
    assert set(TopologicalSorter(imported).static_order()) == paths.keys()


def test_flat_modules_import_no_package():
    assert {name: packages_imported()[name] - FLAT for name in FLAT} == {name: set() for name in FLAT}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_folder_imports_nothing_that_stands_above_it(folder):
    for path in (REPOSITORY / folder).rglob("*.py"):
        found = {name.partition(".")[0] for name in imported_by(path)} & FORBIDDEN[folder]
        assert not found, f"{path.relative_to(REPOSITORY)} imports {', '.join(sorted(found))}"
