"""Fails on a known vulnerability of a locked package that nobody has reviewed.

pip-audit looks up each version of the locks in OSV (https://osv.dev) and installs nothing. audit.toml lists the
accepted vulnerabilities, each with a reason and an expiry date. If OSV is unreachable, the audit is skipped.

Exit status: 0 nothing new, or skipped; 1 a finding; 2 the audit itself failed.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[1]
LOCKS = (
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-spark.txt",
    "requirements-build.txt",
    "serving/requirements.txt",
)
OSV = "https://api.osv.dev/v1/query"
REVIEWED = Path(__file__).with_name("audit.toml")
SECONDS = 10


class AuditError(RuntimeError):
    """The audit failed; the message says why."""


class NotAudited(AuditError):
    """pip-audit failed."""


@dataclass(frozen=True)
class Reviewed:
    """An accepted vulnerability: the reason, and the last day of the acceptance."""

    id: str
    package: str
    reason: str
    until: date


@dataclass(frozen=True)
class Finding:
    """A vulnerability of a locked version, by all its names."""

    package: str
    version: str
    ids: tuple[str, ...]
    fixed_in: tuple[str, ...]
    description: str

    def __str__(self) -> str:
        fix = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "no fix is known"
        return f"{self.package} {self.version}: {', '.join(self.ids)}: {self.description[:200]} ({fix})"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__)
    parser.add_argument("--osv-url", default=OSV)
    parser.add_argument("--reviewed", type=Path, default=REVIEWED)
    arguments = parser.parse_args()
    try:
        reviewed = read_reviewed(arguments.reviewed)
        findings = None if (why := not_reached(arguments.osv_url)) else audit(arguments.osv_url)
    except NotAudited as error:
        # OSV may have become unreachable meanwhile.
        findings, why = None, not_reached(arguments.osv_url)
        if not why:
            return _fail(error)
    except AuditError as error:
        return _fail(error)
    if findings is None:
        _say(f"audit: SKIPPED: {arguments.osv_url} cannot be reached ({why})")
        return 0
    return report(findings, reviewed, datetime.now(UTC).date())


def read_reviewed(file: Path) -> list[Reviewed]:
    """Return the accepted vulnerabilities.

    Raises:
        AuditError: an entry lacks its id, package, reason or expiry date.
    """
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("reviewed", [])
    for entry in entries:
        texts = [entry.get(name) for name in ("id", "package", "reason")]
        if not all(texts) or type(entry.get("until")) is not date or len(entry) != 4:
            raise AuditError(f"{file}: an entry has id, package, reason and until (a date), got {entry}")
    return [Reviewed(**entry) for entry in entries]


def not_reached(url: str) -> str | None:
    """Return why OSV does not answer, None if it does."""
    asked = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "23.0"}
    try:
        answer = requests.post(url, json=asked, timeout=SECONDS)
        answer.raise_for_status()
        # A proxy may answer in OSV's place.
        return None if isinstance(answer.json(), dict) else "its answer is not a JSON object"
    except (requests.RequestException, ValueError) as error:
        return f"{type(error).__name__}: {str(error)[:200]}"


def audit(url: str) -> list[Finding]:
    """Return every known vulnerability of a version in the locks, for this Python and platform.

    Raises:
        NotAudited: pip-audit fails.
    """
    locks = [part for lock in LOCKS for part in ("-r", str(ROOT / lock))]
    options = ["--disable-pip", "--require-hashes", "--strict", "-s", "osv", "--osv-url", url, "-f", "json"]
    command = [sys.executable, "-m", "pip_audit", *locks, *options, "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return list(_findings(json.loads(done.stdout)))
    except ValueError:
        raise NotAudited(f"pip-audit failed with status {done.returncode}: {done.stderr.strip()[-2000:]}") from None


def _findings(found: Any) -> Iterator[Finding]:
    for package in found["dependencies"]:
        for each in package["vulns"]:
            ids = (each["id"], *each["aliases"])
            yield Finding(package["name"], package["version"], ids, tuple(each["fix_versions"]), each["description"])


def report(findings: list[Finding], reviewed: list[Reviewed], today: date) -> int:
    """Print the findings and the state of their reviews, and return the exit status."""
    holding = {(each.package, each.id): each for each in reviewed if each.until >= today}
    new, known = [], set()
    for finding in findings:
        keys = [key for name in finding.ids if (key := (finding.package, name)) in holding]
        known.update(keys)
        for key in keys[:1]:
            _say(f"audit: accepted until {holding[key].until}, {holding[key].reason}: {finding}")
        new += [] if keys else [finding]
    for each in reviewed:
        if each.until < today:
            _say(f"audit: the review of {each.id} ({each.package}) expired on {each.until}: review it again")
        elif (each.package, each.id) not in known:
            _say(f"audit: {each.id} ({each.package}) is no longer found: remove it from audit.toml")
    for finding in new:
        _say(f"audit: FOUND {finding}")
    _say(f"audit: {len(new)} unreviewed vulnerabilities in {', '.join(LOCKS)}")
    return 1 if new else 0


def _fail(error: AuditError) -> int:
    _say(f"audit: {error}")
    return 2


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
