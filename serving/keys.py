"""API keys: `python -m serving.keys` makes one, and the digest of it that is configured.

A key is 32 random bytes, which no dictionary helps to find, so that a plain sha256 keeps it.
"""

import hashlib
import secrets


def digest_of(key: str) -> str:
    """Return what is configured of a key: its sha256 in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


if __name__ == "__main__":
    new = secrets.token_urlsafe(32)
    print(f"key, for the client: {new}\ndigest, for SERVING_API_KEY_DIGESTS: {digest_of(new)}")  # noqa: T201
