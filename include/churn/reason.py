"""Who asked for something that stays on record, and why."""

MAX_WHY = 1000
"""Characters of a reason. The pin holds one, and is a tag of MLflow, which takes 5,000 bytes."""


class Refused(RuntimeError):
    """Base of the errors of an act that a person asked for and that cannot be done; nothing was changed."""


def stated(who: str, why: str, refused: type[Refused]) -> tuple[str, str]:
    """Return both without blanks around them.

    Raises:
        refused: one of them is empty, or `why` is longer than MAX_WHY.
    """
    who, why = who.strip(), why.strip()
    if not who or not why or len(why) > MAX_WHY:
        raise refused(
            f"say who and why, the reason in at most {MAX_WHY} characters; got {who!r} and {len(why)} characters"
        )
    return who, why
