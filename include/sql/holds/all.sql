SELECT as_of, held_at, content, verdict, against_as_of, against_digest, findings
FROM raw.holds
ORDER BY as_of
