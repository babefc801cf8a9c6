"""`python search.py TEXT DIRECTORY…`: prints the files below the directories that hold the text, also compressed as
.zst or in Parquet.

The proof runs it in the containers, whose image has pyarrow and pandas but not this file.
"""

import sys
from pathlib import Path

import pyarrow  # noqa: TID253 — a program of its own
import pyarrow.parquet  # noqa: TID253


def content_of(path: Path) -> bytes:
    """Return the content of a file without its compression; that of a Parquet file as CSV."""
    if path.suffix == ".zst":
        with pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd") as stream:
            return bytes(stream.read())
    if path.suffix == ".parquet":
        return str(pyarrow.parquet.read_table(path).to_pandas().to_csv()).encode()
    return path.read_bytes()


def main() -> None:
    text, *directories = sys.argv[1:]
    files = [path for directory in directories for path in sorted(Path(directory).rglob("*")) if path.is_file()]
    for path in files:
        if text.encode() in content_of(path):
            print(path)  # noqa: T201


if __name__ == "__main__":
    main()
