"""`python -m embedded.stack.airflow_metadata POOLS`: migrate Airflow's database and create the pools of a JSON
file.

Airflow's own commands, one after the other in one process: each of them alone would spend seconds on
importing Airflow.
"""

import sys

from airflow.cli.cli_parser import get_parser


def main(pools: str) -> None:
    """Run `airflow db migrate` and `airflow pools import`; both change nothing that is done already."""
    parser = get_parser()
    for command in (["db", "migrate"], ["pools", "import", pools]):
        arguments = parser.parse_args(command)
        arguments.func(arguments)


if __name__ == "__main__":
    main(sys.argv[1])
