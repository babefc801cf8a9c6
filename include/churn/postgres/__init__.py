"""The database `churn`: connections, statements, migrations, roles, partitions."""
