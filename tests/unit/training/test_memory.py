"""The number of concurrent jobs, and the memory available in a container."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.training.memory import SHARE, available_memory, cgroup_left, jobs_at_once

MIB = 2**20


@given(cores=st.integers(1, 256), each=st.integers(0, 2**40), available=st.integers(0, 2**45))
def test_jobs_at_once_are_at_most_the_cores_and_stay_below_their_share_of_memory(cores, each, available):
    found = jobs_at_once(cores, each, available)
    assert 1 <= found <= cores
    assert found == 1 or found * each <= SHARE * available
    assert found == cores or (found + 1) * each > int(SHARE * available)


def test_fifteen_fits_of_100_mb_run_seven_at_once_in_a_container_of_1_4_gb():
    assert jobs_at_once(16, 100 * MIB, 1400 * MIB) == 7


@pytest.fixture
def cgroup(tmp_path):
    def write(folder, **files):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / folder / name.replace("__", ".")).write_text(f"{text}\n")
        return tmp_path

    return write


def test_a_container_leaves_its_limit_less_what_it_uses_without_the_idle_page_cache(cgroup):
    root = cgroup(".", memory__max=1000, memory__current=700, memory__stat="anon 400\ninactive_file 250")
    assert cgroup_left(root) == 550


def test_a_container_of_cgroup_version_1_is_understood_too(cgroup):
    files = {"memory__limit_in_bytes": 1000, "memory__usage_in_bytes": 700, "memory__stat": "total_inactive_file 0"}
    assert cgroup_left(cgroup("memory", **files)) == 300


def test_a_cgroup_without_a_limit_leaves_what_the_machine_has(cgroup):
    assert cgroup_left(cgroup(".", memory__max="max", memory__current=700, memory__stat="anon 400")) is None


def test_this_machine_has_available_memory():
    assert 0 < available_memory() < 2**50
