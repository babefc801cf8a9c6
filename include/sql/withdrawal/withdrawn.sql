-- The AS_OFs that were withdrawn and of which no drop was loaded since.
SELECT as_of FROM raw.withdrawals
EXCEPT
SELECT as_of FROM raw.drops
