"""`make reproduce`: trains a model version again from the archive and compares it."""

from embedded.commands.chain import Say
from embedded.commands.in_process import in_stack
from embedded.settings import Settings


def reproduce(settings: Settings, version: int, say: Say) -> bool:
    """Train the version again from the archive, print the comparison, and return whether it is equal.

    Raises:
        NotDone: there is no such version, it has no lineage, or MLflow does not answer.
        StackError: the stack is down.
    """
    with in_stack(settings) as variables:
        say(f"version {version}: reading its lineage")
        from churn.reproduction.reproduce import reproduce  # noqa: PLC0415

        made = reproduce(version, variables["CHURN_DATABASE_URL"], settings.archive, say)
    print(f"\n{made}", flush=True)  # noqa: T201
    return made.equal
