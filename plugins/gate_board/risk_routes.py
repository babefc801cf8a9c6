"""The routes of the page "At risk". Each requires a signed-in user; those with customers require the right to see them.

Each is a plain `def`, so that FastAPI runs it in a thread.
"""

import logging
from datetime import date
from itertools import chain
from typing import Annotated

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Response
from fastapi.responses import StreamingResponse

from churn.board import listing
from churn.board.curves import DEPTHS
from gate_board import counted, sources
from gate_board.answers import AUTHENTICATED, as_json
from gate_board.rights import MaySeeCustomers, requires_customers

log = logging.getLogger(__name__)

LARGEST = 2**31 - 1
"""The range of an integer column, beyond which a query would fail."""

Revision = Annotated[int, Path(ge=1, le=LARGEST)]
Depth = Annotated[int, Query(ge=1, le=DEPTHS)]
SEES_CUSTOMERS = [Depends(requires_customers)]

router = APIRouter(prefix="/api/scores", dependencies=AUTHENTICATED)


@router.get("")
def lists(may_see_customers: MaySeeCustomers) -> Response:
    """The AS_OFs that have a list, newest first."""
    return as_json({"lists": listing.read_lists(sources.database_url()), "may_see_customers": may_see_customers})


@router.get("/{as_of}/{revision}")
def summary(as_of: date, revision: Revision) -> Response:
    """A list in figures. `curves` is null while its customers are counted."""
    state = _state(as_of, revision)
    return as_json({
        "run": state.run,
        "label_drops": [drop.as_of for drop in state.label_drops],
        "learned_from_labels": state.learned_from_labels,
        "curves": counted.curves(sources.database_url(), state),
    })  # fmt: skip


@router.get("/{as_of}/{revision}/customers", dependencies=SEES_CUSTOMERS)
def customers(
    *,
    as_of: date,
    revision: Revision,
    search: Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")] = "",
    sort: listing.Sort = "rank",
    after: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 25,
) -> Response:
    """A page of customers; see read_customers()."""
    run = _state(as_of, revision).run
    found = listing.read_customers(sources.database_url(), run, search=search, sort=sort, after=after, limit=limit)
    return as_json(found)


@router.get("/{as_of}/{revision}/contacts.csv", dependencies=SEES_CUSTOMERS)
def contacts(
    as_of: date, revision: Revision, depth: Annotated[int, Query(ge=1, le=DEPTHS)], user: GetUserDep
) -> Response:
    """The customers of arm treat down to a depth, in hundredths of the list."""
    run = _state(as_of, revision).run
    log.info("%s downloads the contacts of %s revision %d down to %d %%", user.get_name(), as_of, revision, depth)
    pieces = listing.contacts(sources.database_url(), run, depth)
    # An unreachable database is noticed here, before the answer has begun.
    first = next(pieces)
    name = f"at-risk_{as_of}_revision-{revision}_top-{depth}-percent.csv"
    return StreamingResponse(
        chain([first], pieces),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _state(as_of: date, revision: int) -> listing.ListState:
    found = listing.read_list(sources.database_url(), as_of, revision)
    if found is None:
        raise HTTPException(404, f"there is no list of {as_of} revision {revision}, or it was withdrawn or deleted")
    return found
