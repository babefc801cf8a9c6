INSERT INTO raw.revisions (as_of, revision, validated_at, digest, code_digest, rules, files, profile, accepted)
VALUES (
    %(as_of)s, %(revision)s, %(validated_at)s, %(digest)s, %(code_digest)s, %(rules)s, %(files)s, %(profile)s,
    %(accepted)s
)
ON CONFLICT (as_of, revision) DO UPDATE SET
    validated_at = EXCLUDED.validated_at,
    code_digest = EXCLUDED.code_digest,
    files = EXCLUDED.files,
    profile = coalesce(EXCLUDED.profile, revisions.profile),
    accepted = coalesce(EXCLUDED.accepted, revisions.accepted),
    expired_at = NULL
