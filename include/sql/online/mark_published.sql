-- begun_at too: a database that was restored counts again from an earlier number.
UPDATE online.builds SET state = 'published', rows = %(rows)s
WHERE build = %(build)s AND begun_at = %(begun_at)s AND state = 'writing'
