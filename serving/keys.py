"""API keys: `python -m serving.keys` generates a key and the digest to configure.

A key is 32 random bytes, so a plain sha256 is enough: no dictionary attack finds it.
"""

import hashlib
import secrets


def digest_of(key: str) -> str:
    """Return the sha256 of a key in hexadecimal, as configured."""
    return hashlib.sha256(key.encode()).hexdigest()


if __name__ == "__main__":
    new = secrets.token_urlsafe(32)
    print(f"key, for the client: {new}\ndigest, for SERVING_API_KEY_DIGESTS: {digest_of(new)}")  # noqa: T201
