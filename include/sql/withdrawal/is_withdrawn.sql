SELECT EXISTS (SELECT FROM raw.withdrawals WHERE as_of = %(as_of)s)
   AND NOT EXISTS (SELECT FROM raw.drops WHERE as_of = %(as_of)s)
