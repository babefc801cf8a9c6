"""Tests that need Redis are skipped without it, and fail in CI."""

import pytest

from tests.real_redis import require_redis_server


def test_without_a_redis_server_a_test_is_skipped_and_fails_in_ci(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="redis-server is not installed"):
        require_redis_server()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="redis-server is not installed"):
        require_redis_server()
