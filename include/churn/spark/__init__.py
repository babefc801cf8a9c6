"""With CHURN_OFFLINE=spark: snapshots as Parquet, and joins and scores by Spark, for more customers than one Postgres
joins.

Results are equal to the bit to those of Postgres, which stays the record. pyspark is imported only within functions
that start Spark.
"""
