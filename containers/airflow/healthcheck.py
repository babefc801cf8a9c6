"""Health check of an Airflow component: `healthcheck.py api|scheduler|dag_processor|triggerer`; exit status 0: healthy.

It reads the API server's health report with the standard library only, since `airflow jobs check` spends seconds of CPU
on importing Airflow.
"""

import json
import os
import sys
import urllib.request


def lives(component: str, report: dict) -> bool:
    """Return whether `component` is healthy in Airflow's health report; `api` is, since it answered."""
    return component == "api" or report[component]["status"] == "healthy"


def main() -> None:
    server = os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].removesuffix("/execution/")
    # Ignores proxy settings of the environment.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{server}/api/v2/monitor/health", timeout=5) as answer:
            sys.exit(0 if lives(sys.argv[1], json.load(answer)) else 1)
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
