"""`python killed_executor.py AS_OF SCORES MARKER`: scores a list on a cluster of two executors; the one that scores the
second batch is killed once. Then it waits, with its session, until the cluster has the executors back."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psutil

from churn.registry import version_scorer
from churn.scores import scoring_step
from churn.scoring.scorer import Scorer
from churn.spark.session import spark_session


@dataclass
class KillsOnce(Scorer):
    """Kills the executor that it runs on at its second batch, unless the file `marker` is there."""

    scorer: Scorer
    marker: str
    batches: int = 0

    def probabilities(self, rows):
        return self.scorer.probabilities(rows)

    def probabilities_of(self, table):
        self.batches += 1
        if self.batches == 2 and not os.path.exists(self.marker):
            with open(self.marker, "w", encoding="utf-8") as file:
                file.write("killed")
            # Of this worker the parent is Spark's daemon, and its parent the executor.
            os.kill(psutil.Process().parent().ppid(), signal.SIGKILL)
        return self.scorer.probabilities_of(table)


def main(as_of, scores, marker):
    loaded = version_scorer.load_scorer

    def load_killing(*arguments):
        model = loaded(*arguments)
        return version_scorer.VersionScorer(KillsOnce(model.scorer, marker), model.background)

    scoring_step.load_scorer = load_killing
    spark = spark_session()
    spark.sparkContext.setLogLevel("ERROR")
    spark.conf.set("spark.sql.shuffle.partitions", "2")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "100")
    scoring_step.score_customers(date.fromisoformat(as_of), os.environ["CHURN_DATABASE_URL"], scores, 0.1)
    assert Path(marker).exists()
    while any(map(is_executor, psutil.Process().children(recursive=True))):
        time.sleep(0.5)


def is_executor(process):
    try:
        return "org.apache.spark.executor.CoarseGrainedExecutorBackend" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    main(*sys.argv[1:])
