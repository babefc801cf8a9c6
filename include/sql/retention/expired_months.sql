SELECT relname, pg_total_relation_size(c.oid)
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
WHERE inhparent = 'predictions.answered'::regclass
  AND to_timestamp(substring(relname FROM '_([0-9]+_[0-9]+)$'), 'YYYY_MM') + interval '1 month' <= %(limit)s
ORDER BY relname
