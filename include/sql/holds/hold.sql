-- held_at is new with each comparison: the id of the run that makes the next one depends on it.
INSERT INTO raw.holds (as_of, content, verdict, against_as_of, against_digest, findings)
VALUES (%(as_of)s, %(content)s, %(verdict)s, %(against_as_of)s, %(against_digest)s, %(findings)s)
ON CONFLICT (as_of) DO UPDATE SET
    held_at = now(),
    content = EXCLUDED.content,
    verdict = EXCLUDED.verdict,
    against_as_of = EXCLUDED.against_as_of,
    against_digest = EXCLUDED.against_digest,
    findings = EXCLUDED.findings
