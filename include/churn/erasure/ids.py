"""`python -m churn.erasure.ids <file`: writes the file of ids of a request, one id a line, and prints its name.

For a stack without `make erase`, as in containers: trigger the DAG churn_erase with the name.
"""

import sys

from churn.erasure.request import ErasureRefused, required_directory, write_ids
from churn.settings import SettingError


def ids_in(content: bytes) -> list[str]:
    """Return the lines of a file of ids in UTF-8; a byte order mark is left out.

    Raises:
        UnicodeDecodeError: it is not in UTF-8.
    """
    # Not splitlines(): ids of early drops may contain what Unicode takes for a line's end.
    return content.decode("utf-8-sig").split("\n")


def main() -> int:
    try:
        print(write_ids(ids_in(sys.stdin.buffer.read()), required_directory()))  # noqa: T201
    except (ErasureRefused, SettingError, OSError, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
