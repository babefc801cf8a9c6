-- Of each AS_OF the revision that is loaded, and those whose content was withdrawn and not accepted since; the newest first.
SELECT as_of, revision, digest, files, withdrawn_at
FROM raw.revisions r
WHERE withdrawn_at IS NULL AND revision = (SELECT revision FROM raw.drops WHERE as_of = r.as_of)
   OR withdrawn_at IS NOT NULL AND NOT EXISTS (
       SELECT FROM raw.revisions live
       WHERE live.as_of = r.as_of AND live.digest = r.digest AND live.withdrawn_at IS NULL
   )
ORDER BY as_of, revision DESC
