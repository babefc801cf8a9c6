SELECT now() - make_interval(days => %(days)s)
