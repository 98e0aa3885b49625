"""`evergreen rollout`: how a version does that is being rolled out, and how to take it back."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from pipelines.cli.alerts import decided
from pipelines.cli.output import AsJson, explained, settings, show


def rollout(
    model: Annotated[str, typer.Argument(help="a model whose spec has a rollout")],
    look: Annotated[
        bool, typer.Option("--look", help="take the step that follows now, as the DAG does")
    ] = False,
    take_back: Annotated[
        bool, typer.Option("--take-back", help="end it: the champion answers everybody")
    ] = False,
    reason: Annotated[str, typer.Option(help="why it is taken back; the audit log keeps it")] = "",
    as_json_text: AsJson = False,
) -> None:
    """What champion and challenger did so far on the same questions, and how far the rollout is."""
    from pipelines import catalog
    from pipelines.loop import rollout as steps
    from pipelines.rollout import moves
    from pipelines.rollout.look import shown
    from pipelines.stores import Stores

    with explained():
        spec, stores, now = catalog.model(model), Stores(settings()), datetime.now(UTC)
        moves.plan(spec)
        if take_back:
            moves.take_back(spec, stores, now, reason)
            decided(model, stores)
        found = steps.look(model) if look and not take_back else shown(spec, stores, now)
        show(found, as_json_text, _told)


def _told(found: dict[str, Any]) -> str:
    head = (
        f"{found['model']} version {found['version']} beside champion {found['champion']}: step {found['step']} of"
        f" {found['steps']}, answers {found['share']:.0%}; {found['outcome']}: {found['reason']}"
    )
    lines = [
        f"  {each['test']:<10} {each['evidence']:>10,.3g} of {each['level']:,.0f}  {each['explanation']}"
        for each in found["findings"]
    ]
    return "\n".join([head, *lines])
