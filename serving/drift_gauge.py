"""A Prometheus gauge of the columns of the newest compared AS_OF that drifted."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class DriftGauge(Collector):
    """Reports what this process read last, and nothing after a read that failed: see VerdictGauges."""

    def __init__(self) -> None:
        self._columns: Mapping[str, int] = {}

    def show(self, columns: Mapping[str, int]) -> None:
        """Report {reference: flagged columns}."""
        self._columns = columns

    def hide(self) -> None:
        """Report nothing."""
        self._columns = {}

    def collect(self) -> Iterator[Metric]:
        drifted = GaugeMetricFamily(
            "churn_drifted_columns",
            "Columns of the newest compared AS_OF that drifted against a reference",
            labels=["reference"],
        )
        for reference, count in self._columns.items():
            drifted.add_metric([reference], count)
        yield drifted


DRIFT = DriftGauge()
