"""Digest of the code of a step, which decides whether the step must run again."""

import hashlib
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from importlib.metadata import distributions
from modulefinder import ModuleFinder
from pathlib import Path

INCLUDE = Path(__file__).parents[1]
LOCK = INCLUDE.parent / "requirements.txt"


@cache
def step_digest(package: str) -> str:
    """Return the sha256 over the code of a step and the locked versions of its libraries.

    The code is the package (for example `churn.training`), the churn modules that it imports, directly or indirectly,
    and the files of include/sql/ and include/feature_repo/ that these name. Libraries are all imported ones.
    """
    finder = _imports_of(package)
    names = (INCLUDE.joinpath(*name.split(".")) for name in finder.modules)
    modules = {file for path in names for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()}
    digest = hashlib.sha256()
    for path in sorted(modules | {path for module in modules for path in _read_by(module)}):
        digest.update(path.relative_to(INCLUDE).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for library in _libraries({name.partition(".")[0] for name in finder.badmodules}):
        digest.update(library.encode() + b"\0")
    return digest.hexdigest()


def _imports_of(package: str) -> ModuleFinder:
    """Find all modules of the package and of the churn packages that it imports; libraries are in `badmodules`."""
    finder, done, packages = ModuleFinder(path=[str(INCLUDE)]), set[str](), {package}
    while packages:
        for path in (path for each in packages for path in INCLUDE.joinpath(*each.split(".")).rglob("*.py")):
            finder.import_hook(".".join(path.relative_to(INCLUDE).with_suffix("").parts).removesuffix(".__init__"))
        done |= packages
        packages = {".".join(name.split(".")[:2]) for name in finder.modules if name.startswith("churn.")} - done
    return finder


def _read_by(module: Path) -> Iterator[Path]:
    """Yield the files that a module reads: templates and scripts beside it, and SQL and feature repositories that it
    names."""
    yield from (path for path in module.parent.glob("*/*") if path.suffix in {".lua", ".html"})
    text = module.read_text(encoding="utf-8")
    yield from (path for path in INCLUDE.glob("sql/*.sql") if f'"{path.stem}/' in text or f'"{path.stem}"' in text)
    repository = [path for path in INCLUDE.glob("*_repo/*") if path.suffix in {".py", ".yaml"}]
    yield from (path for path in repository if f'"{path.parent.name}"' in text)


def _libraries(imported: Collection[str]) -> list[str]:
    """Return the locked `name==version` of each imported library."""
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE))
    distributions = _distributions()
    names = {name.lower() for module in imported for name in distributions.get(module, ())}
    return sorted(f"{name}=={locked[name]}" for name in names if name in locked)


@cache
def _distributions() -> Mapping[str, set[str]]:
    """Return {top-level module: distributions}. packages_distributions() takes a second: it looks at every file."""
    found = defaultdict[str, set[str]](set)
    for each in distributions():
        listed = each.read_text("top_level.txt") or each.read_text("RECORD") or ""
        for name in {re.split(r"[/.,]", line, maxsplit=1)[0] for line in listed.splitlines()}:
            found[name].add(each.name)
    return found


@cache
def lock_digest() -> str:
    """Return the sha256 of the lock file."""
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


@cache
def git_commit() -> str:
    """Return the checked-out commit, with "-dirty" for a modified tree, or "unknown" outside git.

    An image has no checkout; there CHURN_GIT_COMMIT is set.
    """
    if stated := os.environ.get("CHURN_GIT_COMMIT"):
        return stated
    command = ["git", "-C", str(INCLUDE.parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
