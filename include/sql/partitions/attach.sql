SELECT churn_attach_month(%(table)s, %(day)s)
