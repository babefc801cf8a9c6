SELECT withdrawn_at, who, why FROM raw.withdrawals WHERE as_of = %(as_of)s ORDER BY withdrawn_at DESC LIMIT 1
