-- The AS_OFs that were withdrawn and of which no drop was loaded since: when last, by whom and why.
SELECT DISTINCT ON (as_of) as_of, withdrawn_at, who, why
FROM raw.withdrawals
WHERE NOT EXISTS (SELECT FROM raw.drops WHERE drops.as_of = withdrawals.as_of)
ORDER BY as_of, withdrawn_at DESC
