"""Copies of Parquet files without the rows of some customers."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn.erasure import tables

TABLE = pa.table(
    {"user_id": ["a", "b", None, "a", "c", "c"], "hours": [1.0, None, 3.0, 4.0, float("nan"), 6.0]}
).replace_schema_metadata({"kept": "yes"})


@pytest.fixture
def file(tmp_path):
    """A file of three row groups."""
    pq.write_table(TABLE, tmp_path / "old.parquet", row_group_size=2)
    return tmp_path / "old.parquet"


@pytest.mark.parametrize(("users", "rest"), [({"a"}, [1, 2, 4, 5]), ({"a", "c", "z"}, [1, 2]), ({"c"}, [0, 1, 2, 3])])
def test_other_rows_keep_their_order_and_the_schema_stays(file, tmp_path, users, rest):
    removed = tables.copy_without(file, tmp_path / "new.parquet", tables.of_users(users))
    new = pq.read_table(tmp_path / "new.parquet", memory_map=False)
    assert removed == len(TABLE) - len(rest)
    assert new.schema.equals(TABLE.schema, check_metadata=True)
    assert repr(new.to_pylist()) == repr(TABLE.take(rest).to_pylist())


def test_without_such_rows_nothing_is_written(file, tmp_path):
    assert tables.copy_without(file, tmp_path / "new.parquet", tables.of_users({"z"})) == 0
    assert not (tmp_path / "new.parquet").exists()


def test_the_rows_of_customers_are_found_in_every_row_group(file):
    assert tables.rows_of(file, {"a"})["hours"].to_pylist() == [1, 4]
    assert tables.rows_of(file, {"z"}).schema.equals(TABLE.schema)


def test_ids_that_are_numbers_are_found(tmp_path):
    pq.write_table(pa.table({"user_id": [1, 12, 2]}), tmp_path / "numbers.parquet")
    assert tables.rows_of(tmp_path / "numbers.parquet", {"12"})["user_id"].to_pylist() == [12]


def test_rows_are_found_by_their_values_with_null_and_nan_as_equals(file, tmp_path):
    gone = frozenset([(None, 3.0), ("b", None), ("c", None)])
    selection = tables.of_values(gone, ["user_id", "hours"])
    assert tables.copy_without(file, tmp_path / "new.parquet", selection) == 3
    assert pq.read_table(tmp_path / "new.parquet", memory_map=False)["hours"].to_pylist() == [1, 4, 6]


def test_rows_are_shown_as_json(file):
    assert tables.to_json(tables.rows_of(file, {"c"})) == [
        {"user_id": "c", "hours": None},
        {"user_id": "c", "hours": 6.0},
    ]


def test_a_file_that_is_no_parquet_has_no_customers(tmp_path):
    (tmp_path / "x.parquet").write_text("x" * 1000)
    assert not tables.has_users(tmp_path / "x.parquet")
