UPDATE online.builds SET state = 'published', rows = %(rows)s WHERE build = %(build)s
