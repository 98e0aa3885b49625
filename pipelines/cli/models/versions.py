"""`evergreen promote`, `rollback` and what else decides which version serves."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.alerts import decided
from pipelines.cli.output import GATE, AsJson, explained, progress, settings, show
from pipelines.contracts import EvergreenError, Promotion, as_json
from pipelines.stores import Stores

if TYPE_CHECKING:
    from pipelines.catalog import ModelSpec

Model = Annotated[str, typer.Argument(help="a model of the catalog")]
Named = Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="such as flight_delays@3")]
Reason = Annotated[str, typer.Option(help="why; the audit log keeps it", show_default=False)]


def promote(
    model: Model,
    version: Annotated[int | None, typer.Option(help="default: the newest version")] = None,
    as_json_text: AsJson = False,
) -> None:
    """Make a version that passed its gate the champion; where its spec has a rollout, begin that."""
    from pipelines.loop import steps

    with explained():
        number = version or steps.newest(model)
        answer = steps.promote(model, number)
        show(answer, as_json_text, _moved)
        _served(model, answer)
        decided(model, _stores())
        done = answer["promoted"] or _rolls_out(model, number)
    if not done:
        raise typer.Exit(GATE)


def rollback(
    model: Model,
    reason: Reason,
    to: Annotated[int | None, typer.Option(help="an earlier champion; default: the previous one")] = None,
    as_json_text: AsJson = False,
) -> None:
    """Make the previous champion, or an earlier one, champion again, if it can still serve."""
    from pipelines.promotion.rollback import rollback as move

    with explained():
        spec, stores = _spec(model), _stores()
        answer = move(spec, stores, _now(), reason, to)
        show(answer, as_json_text, _moved)
        _served(spec.name, as_json(answer))
        _cards(spec, answer, stores)
        decided(spec.name, stores)


def override(named: Named, reason: Reason, as_json_text: AsJson = False) -> None:
    """Make a version champion in spite of its gate. It is you who answers for it, wherever it is shown."""
    from pipelines.promotion.promote import override as move

    with explained():
        (spec, version), stores = _asked(named), _stores()
        answer = move(spec, version, stores, _now(), reason)
        show(answer, as_json_text, _moved)
        _served(spec.name, as_json(answer))
        _cards(spec, answer, stores)
        decided(spec.name, stores)


def approve(
    named: Named,
    reason: Reason,
    reject: Annotated[bool, typer.Option("--reject", help="say no instead")] = False,
    as_json_text: AsJson = False,
) -> None:
    """Say yes (or no) to a version that passed its gate, where its spec asks a person."""
    from pipelines.promotion.approval import answer

    with explained():
        spec, version = _asked(named)
        said = answer(spec, version, not reject, _stores(), _now(), reason)
        show(said, as_json_text, lambda e: f"{e['subject']}: {e['action']} by {e['who']}. {e['why']}")


def pin(named: Named, reason: Reason = "the anchor from now on", as_json_text: AsJson = False) -> None:
    """Make a version the anchor: what every candidate may be held against, however champions come and go."""
    from pipelines.promotion.rollback import pin as fix

    with explained():
        spec, version = _asked(named)
        fix(spec, version, _stores(), _now(), reason)
        answer = {"model": spec.name, "anchor": version, "reason": reason}
        show(answer, as_json_text, lambda a: f"Anchor of {a['model']}: version {a['anchor']}. {a['reason']}")


def retire(
    model: Model,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would go; delete nothing")] = False,
    as_json_text: AsJson = False,
) -> None:
    """Delete the files of old versions that no rollback may need; record, card and audit log stay."""
    from pipelines.promotion.retire import retire as delete

    with explained():
        show(delete(_spec(model), _stores(), _now(), dry_run), as_json_text, _retired)


COMMANDS: tuple[Callable[..., None], ...] = (promote, rollback, override, approve, pin, retire)


def _spec(model: str) -> "ModelSpec":
    from pipelines import catalog

    return catalog.model(model)


def _asked(named: str) -> "tuple[ModelSpec, int]":
    """The model and the version of MODEL@VERSION."""
    found = re.fullmatch(r"([^@]+)@(\d+)", named)
    if found is None:
        raise EvergreenError(f"{named!r} is not MODEL@VERSION such as flight_delays@3")
    return _spec(found[1]), int(found[2])


def _rolls_out(model: str, version: int) -> bool:
    """Whether the version is being rolled out."""
    if _spec(model).rollout is None:
        return False
    from pipelines.rollout.moves import current

    running = current(model, _stores())
    return running is not None and running.version == version


def _served(model: str, answer: dict[str, Any]) -> None:
    """Whether, and when, serving answers with the new champion; told on stderr."""
    from pipelines.local.answering import followed

    if answer["promoted"]:
        progress(followed(settings(), model, answer["champion_version"]))


def _cards(spec: "ModelSpec", answer: Promotion, stores: Stores) -> None:
    """What is shown of both versions follows once the champion has moved and that was said."""
    from pipelines.record.card import moved

    moved(spec, answer, stores)


def _stores() -> Stores:
    return Stores(settings())


def _now() -> datetime:
    return datetime.now(UTC)


def _moved(answer: dict[str, Any]) -> str:
    now, before = answer["champion_version"], answer["previous_version"]
    if not answer["promoted"]:
        return f"Champion: version {now}, as before. {answer['reason']}"
    return f"Champion: version {now} (before: {before}). {answer['reason']}"


def _retired(answer: dict[str, Any]) -> str:
    versions = ", ".join(map(str, answer["retired"])) or "none"
    done = "Would retire" if answer["dry_run"] else "Retired"
    kept = ", ".join(f"{version} ({why})" for version, why in answer["kept"].items())
    files = f"{answer['files']} files, {answer['bytes'] / 1e6:.1f} MB"
    return f"{done} versions: {versions}; {files}. Kept: {kept or 'none'}."
