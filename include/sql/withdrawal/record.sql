INSERT INTO raw.withdrawals (as_of, withdrawn_at, who, why)
VALUES (%(as_of)s, %(withdrawn_at)s, %(who)s, %(why)s)
