"""Hashes of customers on disk, in parts."""

from itertools import pairwise

import numpy as np
import pytest

from churn.drops.keys import PARTS, Keys, count_shared

pytestmark = pytest.mark.unit

EVERY = np.random.default_rng(1).integers(0, 2**64, (5000, 2), np.uint64, endpoint=False)


def test_each_row_is_in_one_part_by_its_first_column(tmp_path):
    keys = Keys(tmp_path / "keys", columns=2)
    for block in np.split(EVERY, 5):
        keys.add(block)
    parts = [keys.part(number) for number in range(PARTS)]
    bounds = [(int(part[:, 0].min()), int(part[:, 0].max())) for part in parts]
    assert all(before < after for (_, before), (after, _) in pairwise(bounds))
    assert sorted(map(tuple, np.concatenate(parts).tolist())) == sorted(map(tuple, EVERY.tolist()))


@pytest.mark.parametrize("begin", [0, 1000, 5000])
def test_customers_of_both_are_counted(tmp_path, begin):
    some, others = Keys(tmp_path / "some"), Keys(tmp_path / "others")
    some.add(EVERY[:3000, :1])
    others.add(EVERY[begin:, :1])
    assert count_shared(some, others) == max(3000 - begin, 0)


def test_without_customers_no_one_is_shared(tmp_path):
    some, others = Keys(tmp_path / "some"), Keys(tmp_path / "others")
    some.add(EVERY[:10, :1])
    assert count_shared(some, others) == count_shared(others, some) == 0
