"""`make bench`: what the pipeline costs, beside a naive one of our own and beside the limit of the database.

*naive* is what a competent team writes first: pandas and upserts, and Feast with its stock Postgres stores. *ours* is
the pipeline as its tasks call it. *limit* is what the same server needs for the same bytes when nothing is checked,
indexed or kept consistent.
"""
