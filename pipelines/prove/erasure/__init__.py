"""`evergreen prove erasure`: persons leave a loaded deployment, midway killed, and are looked for byte by byte."""

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError, Say
from pipelines.prove import Proof
from pipelines.prove.erasure import world
from pipelines.prove.erasure.residues import apart, others, residues
from pipelines.stores import Stores

PROMISE = "Nothing is left of who was erased, everything of everybody else, and the loop goes on"


def prove(
    subjects: int,
    customers: int,
    days: int,
    kills: int,
    seed: int,
    home: Path,
    say: Say,
    crowned: bool = True,
) -> Proof:
    """So many of the customers leave a deployment; before that, as many runs that should remove them are killed."""
    size, draw, rows, broken = world.Size(customers, days), _drawing(seed), [], list[str]()
    say(f"{customers} customers pay for {days} days")
    stores = world.built(home, size, crowned)
    gone = sorted(draw.sample([world.customer(n) for n in range(customers)], subjects))
    told = world.answers(gone)
    before, held = apart(residues, home, gone), apart(others, home, gone, told)
    rows.append({"what": "before", "files with them": len(before), "tables and files of others": len(held)})
    if len(before) < 20:
        broken.append(f"only {len(before)} files hold them, so there was little to erase")
    killed = _killed(kills, gone, home, draw, say)
    rows.append({"what": f"{kills} runs to be killed", "killed": killed})
    answer, took = _erased(gone, home, say)
    after, kept = apart(residues, home, gone), apart(others, home, gone, told)
    rows.append(
        {"what": f"{subjects} persons erased", "files with them": len(after), "seconds": f"{took:.1f}",
         "places of the last run": len(answer.places), "models that learned": len(answer.models)}
    )  # fmt: skip
    broken += [f"{name} still holds {count} of them" for name, count in after.items()]
    broken += [f"{name} is not as it was for others: {held[name]}, now {kept.get(name)}"
               for name in held if kept.get(name) != held[name]]  # fmt: skip
    broken += [] if answer.models else ["no model is said to have learned from them"]
    broken += [f"the audit log: {finding}" for finding in stores.audit.verify()]
    rows.append({"what": "a second run", **_again(gone, home, broken)})
    rows.append({"what": "the loop goes on", **_goes_on(stores, size, home, gone, broken)})
    return Proof(PROMISE, rows, broken)


def _drawing(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - of a proof


def _sought(gone: Sequence[str]) -> Any:
    from pipelines.erasure.subjects import sought

    return sought(f"card_customers.customer_id={each}" for each in gone)


def _erased(gone: Sequence[str], home: Path, say: Say) -> tuple[Any, float]:
    from pipelines.erasure.erase import erase

    began = time.monotonic()
    answer = erase(_sought(gone), _stores(home), "to prove it", datetime.now(UTC), say)
    return answer, time.monotonic() - began


def _stores(home: Path) -> Stores:
    from pipelines.prove.worlds import sandbox

    return sandbox(home)


def removes(home: str, gone: Sequence[str]) -> None:
    """The life of a run that is to be killed."""
    _erased(gone, Path(home), lambda _: None)


def _killed(kills: int, gone: Sequence[str], home: Path, draw: random.Random, say: Say) -> int:
    """Runs killed after a while that grows, so that each place is crossed; how many did not end by themselves."""
    from pipelines.prove.forks import start

    killed = 0
    for number in range(kills):
        run = start(removes, str(home), gone)
        run.join(0.5 + draw.random() * 1.5 * (number + 1))
        killed += run.exitcode is None
        run.kill()
        run.join()
        say(f"run {number + 1} of {kills}: {'killed' if run.exitcode == -9 else f'ended {run.exitcode}'}")
    return killed


def _again(gone: Sequence[str], home: Path, broken: list[str]) -> dict[str, Any]:
    """Nothing is found where nothing is left."""
    answer, _ = _erased(gone, home, lambda _: None)
    broken += [f"a second run found {each.rows} rows in {each.place}" for each in answer.places]
    return {"places of the last run": len(answer.places)}


def _goes_on(
    stores: Stores, size: world.Size, home: Path, gone: Sequence[str], broken: list[str]
) -> dict[str, Any]:
    """A week more lands without them, features are computed, a version is trained; the old one says why not again."""
    from pipelines.features.compute import compute
    from pipelines.training.reproduce import reproduce

    until = size.until + timedelta(days=7)
    fresh = _stores(home)
    before = {each.digest for each in fresh.ledger.batches()}
    with world.town(size, gone) as town:
        world.landed(fresh, town, size, size.days, size.days + 7)
    new = [each for each in fresh.ledger.batches() if each.digest not in before]
    run = compute(until, fresh)
    made = world.trained(fresh, until)[0]
    if not any(each.silver for each in new) or not run.rows:
        broken.append("afterwards nothing new came in, or no feature was computed")
    try:
        reproduce(world.spec(), 1, fresh, datetime.now(UTC))
        broken.append("version 1 was made again, though rows that it learned from are gone")
        why = ""
    except EvergreenError as error:
        why = str(error)
        broken += [] if "rows were erased" in why else [f"version 1 cannot be made again, it says, as {why}"]
    left = apart(residues, home, gone)
    broken += [f"after a week more {name} holds {count} of them" for name, count in left.items()]
    return {"new rows": sum(each.silver for each in new), "version": made.version, "version 1 again": why}
