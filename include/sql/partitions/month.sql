SELECT partition_schema, partition_name, is_new FROM churn_month(%(table)s, %(day)s)
