"""`make bench`: the cost of the pipeline, compared with a naive one and with the database's limit.

*naive* is what a competent team writes first: pandas, upserts, and Feast with its stock Postgres stores. *ours* is the
pipeline, called like its tasks. *limit* is the time of the same server for the same bytes without checks, indexes or
consistency.
"""


class BenchError(RuntimeError):
    """The benchmark has no valid result; the message says why."""
