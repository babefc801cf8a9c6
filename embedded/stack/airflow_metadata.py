"""`python -m embedded.stack.airflow_metadata POOLS`: migrate Airflow's database and import the pools of a JSON file.

Runs both Airflow commands in one process, as importing Airflow takes seconds.
"""

import sys

from airflow.cli.cli_parser import get_parser


def main(pools: str) -> None:
    """Run `airflow db migrate` and `airflow pools import`; both are idempotent."""
    parser = get_parser()
    for command in (["db", "migrate"], ["pools", "import", pools]):
        arguments = parser.parse_args(command)
        arguments.func(arguments)


if __name__ == "__main__":
    main(sys.argv[1])
