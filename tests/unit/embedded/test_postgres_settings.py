from embedded.stack.postgres import sized_settings

GIGABYTE = 2**30


def test_postgres_gets_more_on_a_larger_machine_within_limits():
    laptop, server = sized_settings(8 * GIGABYTE, 100 * GIGABYTE), sized_settings(256 * GIGABYTE, 1000 * GIGABYTE)
    assert laptop == {
        "shared_buffers": "1024MB",
        "effective_cache_size": "4096MB",
        "max_wal_size": "2730MB",
        "checkpoint_timeout": "15min",
    }
    assert (server["shared_buffers"], server["max_wal_size"]) == ("8192MB", "16384MB")


def test_a_small_machine_keeps_the_defaults_of_postgres():
    small = sized_settings(GIGABYTE // 2, GIGABYTE)
    assert (small["shared_buffers"], small["max_wal_size"]) == ("128MB", "1024MB")


def test_the_log_of_postgres_leaves_room_on_a_small_disk():
    assert sized_settings(64 * GIGABYTE, 15 * GIGABYTE)["max_wal_size"] == "1536MB"
