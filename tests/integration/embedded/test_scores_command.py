"""What `make scores` and `make run` show of a list."""

from datetime import date

import pytest

from embedded.commands import pipeline, scores
from embedded.settings import load_settings
from tests.made_lists import insert_list

D31 = date(2024, 1, 31)


@pytest.fixture
def settings(database_url, tmp_path, monkeypatch):
    variables = {"CHURN_DATABASE_URL": database_url, "SCORES_URL": str(tmp_path / "scores")}
    for module in (scores, pipeline):
        monkeypatch.setattr(module, "environment", lambda _: variables)
    return load_settings({"CHURN_HOME": str(tmp_path)})


def test_the_command_shows_counts_deciles_the_first_customers_with_reasons_and_the_files(settings, database_url):
    insert_list(database_url, D31, 200, revision=1)
    insert_list(database_url, D31, 100, revision=2)
    head, deciles, first, files = scores.scores(settings, D31, top=3).split("\n\n")
    assert "AS_OF 2024-01-31, revision 2: 100 customers scored by version 3" in head
    assert [line.split()[0] for line in deciles.splitlines()[1:]] == [str(n) for n in range(1, 11)]
    assert [line.split()[1] for line in deciles.splitlines()[1:]] == ["10"] * 10
    assert [line.split()[-1] for line in deciles.splitlines()[1:]] == ["1"] * 10
    assert [line.split()[0] for line in first.splitlines()[1:]] == ["1", "2", "3"]
    assert "months_active 2 raises the risk by 0.08" in first
    assert files.endswith("as_of=2024-01-31/revision=2")


def test_a_date_without_a_list_is_an_error_that_says_what_to_do(settings):
    with pytest.raises(scores.NoScores, match="make trigger AS_OF=2024-01-31"):
        scores.scores(settings, D31)


def test_a_run_ends_with_the_first_customers(settings, database_url):
    assert "has no list" in pipeline._first_of_the_list(settings, D31)
    insert_list(database_url, D31, 100)
    assert "most likely to leave after 2024-01-31" in pipeline._first_of_the_list(settings, D31)
