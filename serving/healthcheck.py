"""The image's HEALTHCHECK: exit status 0 if the service of this container is healthy.

It imports only the standard library, to keep the check cheap.
"""

import http.client
import json
import os
import sys


def is_healthy(port: int) -> bool:
    """Tell whether the service on 127.0.0.1 answers within 4 s and no worker lags behind the others. A service without
    a version in Production is healthy but not ready. Proxy settings of the environment are ignored."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        return answer.status == http.HTTPStatus.OK or json.load(answer)["workers_behind"] == 0
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_healthy(int(os.environ.get("SERVING_PORT") or 8000)) else 1)
