"""`make audit` against a fake OSV: no finding, a finding, an accepted one, no service."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "audit.py"
TODAY = date.today()  # noqa: DTZ011 — the days around it are not tried
NUMPY = {
    "id": "GHSA-0000-1111-2222",
    "aliases": ["CVE-2026-12345"],
    "summary": "Numbers that are not",
    "schema_version": "1.6.0",
    "affected": [
        {
            "package": {"name": "numpy", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
        }
    ],
}


@contextmanager
def osv(known, fails_after=None) -> Iterator[tuple[str, set]]:
    """A fake OSV with these vulnerabilities by package; yields its address and the packages it was asked about."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(query["package"]["name"])
            away = fails_after is not None and len(asked) > fails_after
            found = known.get(asked[-1], [])
            body = b"<html>" if away else json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(503 if away else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
    finally:
        server.shutdown()
        server.server_close()


def audit(url, *arguments):
    command = [sys.executable, str(SCRIPT), "--osv-url", url, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def review(directory, **entry):
    usual = {"id": '"CVE-2026-12345"', "package": '"numpy"', "reason": '"no such numbers here"'}
    lines = [f"{name} = {value}" for name, value in (usual | entry).items() if value]
    file = directory / "audit.toml"
    file.write_text("\n".join(["[[reviewed]]", *lines]))
    return "--reviewed", str(file)


def test_without_findings_the_audit_succeeds_and_covers_every_lock():
    with osv({}) as (url, asked):
        status, said = audit(url)
    assert status == 0
    assert "0 unreviewed vulnerabilities" in said
    assert {"apache-airflow", "feast", "pip-audit", "ruff", "mlflow-skinny", "gunicorn"} <= set(asked)
    assert len(asked) > 250


def test_a_finding_fails_the_audit_and_names_package_version_vulnerability_and_fix():
    with osv({"numpy": [NUMPY]}) as (url, _):
        status, said = audit(url)
    assert status == 1
    assert "FOUND numpy " in said
    assert "CVE-2026-12345, GHSA-0000-1111-2222: Numbers that are not (fixed in 99.1)" in said


def test_an_accepted_finding_succeeds_with_its_reason_and_expiry_date(tmp_path):
    until = TODAY + timedelta(days=10)
    with osv({"numpy": [NUMPY]}) as (url, _):
        status, said = audit(url, *review(tmp_path, until=until))
    assert status == 0
    assert f"accepted until {until}, no such numbers here: numpy" in said


@pytest.mark.parametrize(
    "entry", [{"until": TODAY - timedelta(days=10)}, {"until": TODAY + timedelta(days=10), "package": '"scipy"'}]
)
def test_an_expired_review_or_one_of_another_package_does_not_count(tmp_path, entry):
    with osv({"numpy": [NUMPY]}) as (url, _):
        status, said = audit(url, *review(tmp_path, **entry))
    assert status == 1
    assert "review it again" in said or "remove it from audit.toml" in said


@pytest.mark.parametrize("entry", [{"reason": ""}, {"until": '"some day"'}, {}])
def test_a_review_without_reason_or_expiry_date_is_refused(tmp_path, entry):
    with osv({}) as (url, asked):
        status, said = audit(url, *review(tmp_path, **entry))
    assert (status, asked) == (2, [])
    assert "an entry has id, package, reason and until" in said


def test_the_audit_is_skipped_when_osv_is_unreachable():
    status, said = audit("http://127.0.0.1:9/v1/query")
    assert status == 0
    assert "SKIPPED: http://127.0.0.1:9/v1/query cannot be reached" in said


def test_the_audit_is_skipped_when_osv_fails_meanwhile():
    with osv({"numpy": [NUMPY]}, fails_after=20) as (url, _):
        status, said = audit(url)
    assert status == 0
    assert "SKIPPED" in said


def test_the_reviews_of_this_repository_are_complete():
    with osv({}) as (url, _):
        assert audit(url, "--reviewed", str(SCRIPT.with_name("audit.toml")))[0] == 0
