"""The list is the same, whatever range of scores is sorted at once."""

import math
from datetime import date
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn.scores import ranking

VALUES = {"as_of": date(2024, 1, 31), "revision": 1, "model_version": 1, "threshold": 0.5, "control_share": 0.1}
UNEXPLAINED = SimpleNamespace(background=[], scorer=None)
# Few different scores, so that many customers share one.
SCORES = st.lists(st.integers(0, 20).map(lambda score: score / 20), max_size=120)


def scored(scores, file, batch=7):
    """Write customers with these scores as score_batches() does, in small batches."""
    columns = {
        "user_id": [f"{number:03d}" for number in range(len(scores))],
        "churn_probability": scores,
        "fee": scores,
    }
    table = pa.table(
        columns, pa.schema([("user_id", pa.string()), ("churn_probability", pa.float64()), ("fee", pa.float64())])
    )
    with pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch)
    return table


@given(SCORES, st.sampled_from([1, 3, 10, 1000]), st.sampled_from([1, 50]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_customers_are_ranked_by_score_and_id_in_tables_of_equal_size(tmp_path, scores, at_once, drawn):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ranking, "SORTED_AT_ONCE", at_once)
        patched.setattr(ranking, "DRAWN", drawn)
        patched.setattr(ranking, "ROWS_AT_ONCE", 11)
        everybody = scored(scores, tmp_path / "scored.arrow")
        tables = list(ranking.ranked_rows(tmp_path / "scored.arrow", UNEXPLAINED, VALUES | {"rows": len(scores)}))
    assert [len(table) for table in tables[:-1]] == [11] * (len(tables) - 1)
    listed = pa.concat_tables(tables) if tables else everybody.slice(0, 0)
    wanted = everybody.take(pc.sort_indices(everybody, sort_keys=ranking.BY_RISK))
    assert listed["user_id"].to_pylist() == wanted["user_id"].to_pylist()
    if tables:
        assert listed["rank"].to_pylist() == list(range(1, len(scores) + 1))
        sizes = pc.value_counts(listed["decile"]).to_pylist()
        assert [each["values"] for each in sizes] == sorted(each["values"] for each in sizes)
        counts = [each["counts"] for each in sizes]
        assert max(counts) - min(counts) <= 1
        assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -1e-9, 1.0000001, None])
def test_scores_that_are_not_probabilities_are_refused(tmp_path, odd):
    batch = pa.record_batch({"churn_probability": pa.array([0.0, odd, 1.0], pa.float64())})
    with pytest.raises(ranking.NotProbabilities, match="1 of a batch of 3 scores"):
        ranking.write_scored([batch], tmp_path / "scored.arrow")
