-- What is being written is left to the materialization, which sees that its snapshot is gone.
UPDATE online.builds SET state = 'withdrawn' WHERE as_of = %(as_of)s AND state <> 'writing'
