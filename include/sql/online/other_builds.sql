-- The tables of a view's builds but the one that is served: the one before it, and what a dead materialization left.
SELECT relname
FROM pg_class
WHERE relnamespace = 'online'::regnamespace AND relkind = 'r' AND relname ~ ('^' || %(view)s || '_[0-9]+$')
  AND relname IS DISTINCT FROM (SELECT %(view)s || '_' || build FROM online.served)
