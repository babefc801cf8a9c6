DELETE FROM online.served WHERE build = %(build)s
