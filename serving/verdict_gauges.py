"""Prometheus gauges of the verdict on the served version: what it realized, and what training promised."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from churn.outcomes.standing import AS_PROMISED, CHANCE, NOT_JUDGED, WORSE, Standing

_VERDICTS = (AS_PROMISED, WORSE, CHANCE, NOT_JUDGED)


class VerdictGauges(Collector):
    """Reports the verdict as this process read it last. Nothing is reported before the first read, nor after one that
    failed: the files of prometheus_client's multiprocess mode could not drop a series."""

    def __init__(self) -> None:
        self._shown: tuple[int, Standing | None] | None = None

    def show(self, version: int, found: Standing | None) -> None:
        """Report the verdict on a version, None if it has none."""
        self._shown = version, found

    def hide(self) -> None:
        """Report nothing."""
        self._shown = None

    def collect(self) -> Iterator[Metric]:
        if (shown := self._shown) is None:
            return
        version, found = str(shown[0]), shown[1]
        verdict = GaugeMetricFamily(
            "churn_model_verdict",
            "1: the verdict on the served version, by labels that came later; 0: the other verdicts",
            labels=["version", "verdict"],
        )
        for word in _VERDICTS:
            verdict.add_metric([version, word], word == (found.verdict if found else NOT_JUDGED))
        yield verdict
        if found is None:
            return
        realized = GaugeMetricFamily(
            "churn_realized_auc", "AUC of the served version on the labels of as_of", labels=["version", "as_of"]
        )
        realized.add_metric([version, found.as_of.isoformat()], found.auc)
        yield realized
        if found.promised_auc is not None:
            promised = GaugeMetricFamily(
                "churn_promised_auc", "AUC of the served version on the gate cohort at training", labels=["version"]
            )
            promised.add_metric([version], found.promised_auc)
            yield promised


VERDICT = VerdictGauges()
