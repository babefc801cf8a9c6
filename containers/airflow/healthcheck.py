"""Does a part of Airflow live? `healthcheck.py api|scheduler|dag_processor|triggerer`: exit status 0 says yes.

The API server is asked, which knows the heartbeats of the others: a check imports the standard library alone, where
`airflow jobs check` would spend seconds of a core on importing Airflow, every time.
"""

import json
import os
import sys
import urllib.request


def lives(component: str, report: dict) -> bool:
    """Tell whether `component` is well by Airflow's health report; `api` is, as it made the report."""
    return component == "api" or report[component]["status"] == "healthy"


def main() -> None:
    server = os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].removesuffix("/execution/")
    # Straight to it, whatever proxy the environment has.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{server}/api/v2/monitor/health", timeout=5) as answer:
            sys.exit(0 if lives(sys.argv[1], json.load(answer)) else 1)
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
