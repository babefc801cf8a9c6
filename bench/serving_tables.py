"""The tables of the benchmark serving."""

from bench.figures import Row, goal_rows, number
from embedded.table import table


def render(result: Row) -> str:
    """Return the result as tables for a terminal."""
    loads = [
        (each["family"], each["connections"], each["side"], *(number(each[name]) for name in _FIGURES), each["errors"])
        for each in result["loads"]
    ]
    ratios = [
        (each["family"], each["connections"], *(number(each[name]) for name in _RATIOS)) for each in result["ratios"]
    ]
    starts = [(each["workers"], *(number(each[name]) for name in _STARTS)) for each in result["starts"]]
    services = [
        (each["family"], each["service"], number(each["seconds_to_ready"]), number(each["mb"]))
        for each in result["services"]
    ]
    about = (
        f"{result['customers']:,} customers; {result['workers']} workers each; medians of {result['rounds']} loads "
        f"of {', '.join(map(str, result['seconds']))} s; MB: a page that processes share counts in parts"
    )
    tables = (
        table(("in Production", "connections", "side", "p50 ms", "p99 ms", "requests/s", "errors"), loads),
        table(
            ("in Production", "connections", "p50 naive/ours", "requests/s ours/naive", "p50 ours/constant + SELECT"),
            ratios,
        ),
        table(("workers of ours, alone", "s to ready", "MB", "MB of the master", "MB of a worker alone"), starts),
        table(("in Production", "service", "s to ready", "MB"), services),
        table(("goal", "is", "asked", "met"), goal_rows(result["goals"])),
    )
    return "\n\n".join((about, *tables))


_FIGURES = ("p50_ms", "p99_ms", "requests_per_second")
_RATIOS = ("p50_naive_over_ours", "rate_ours_over_naive", "p50_ours_over_limit")
_STARTS = ("seconds_to_ready", "mb", "master_mb", "own_mb_of_a_worker")
