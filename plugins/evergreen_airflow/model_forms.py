"""The forms of the page Model for who may use them: roll back, promote, retrain, release; all text is escaped."""

from collections.abc import Iterable
from html import escape
from typing import Any, NamedTuple

from evergreen_airflow.guard import LONGEST, SCRIPT
from pipelines.site.facts import Held, History, ModelFacts

NOT_YOURS = (
    "<p class=soft>Who may start this DAG's runs can retrain here; who may answer its approvals can roll back and "
    "promote.</p>"
)
NOTHING_YET = (
    "<p class=soft>The first training is started by Airflow's own button: there is no champion to act on.</p>"
)
CHOICE = 8
"""So many of the newest versions that passed can be promoted from here."""


class Rights(NamedTuple):
    """What the reader may do with a model: start its runs, decide about its versions."""

    start: bool
    approve: bool


def panel(
    dag_id: str, found: dict[str, Any], facts: ModelFacts, rights: Rights, releasable: Iterable[Held]
) -> str:
    """What the reader may do with the model: every form, or the sentence that says who may."""
    held = "".join(_release(each) for each in releasable)
    own = _own(dag_id, found, facts, rights) if any(rights) else NOT_YOURS
    script = f"<script>{SCRIPT}</script>" if "<form" in own + held else ""
    waits = f"<h3>Rows that are held back</h3>{held}" if held else ""
    return f"<section id=act><h2>Act</h2>{own}{waits}</section>{script}"


def _own(dag_id: str, found: dict[str, Any], facts: ModelFacts, rights: Rights) -> str:
    """What moves or makes the model's versions, as far as the reader may."""
    back = _form(dag_id, found) if rights.approve else ""
    if found["champion"] is None:
        return back + NOTHING_YET
    forward = _promote(dag_id, facts.history.value) if rights.approve else ""
    return back + forward + (_retrain(dag_id) if rights.start else "")


def _form(dag_id: str, found: dict[str, Any]) -> str:
    """The button back. What keeps the previous champion from serving is said beside it."""
    to, obstacles = found["rollback"]["to"], found["rollback"]["obstacles"]
    told = "".join(f"<li>{escape(reason)}" for reason in obstacles)
    told = f"<p class=warn>Version {to} cannot serve now:<ul>{told}</ul>" if to and told else ""
    others = [
        each for each in found["versions"] if each["version"] != found["champion"] and not each["retired"]
    ]
    if found["champion"] is None or not (to or others):
        return "<p class=soft>There is no other version to roll back to.</p>"
    hint = f"version {to}" if to else "version"
    what = (
        "<button name=go class=danger>Roll back</button><label>to <input name=to inputmode=numeric pattern='[0-9]*' "
        f"size=9 placeholder='{hint}'></label>"
    )
    return _acting(f"{dag_id}/rollback", "rollback", "rolling back", what) + told


def _promote(dag_id: str, history: History | None) -> str:
    passed = [
        each.version
        for each in (history.versions if history else ())
        if each.verdict == "PASS" and not each.champion and not each.retired
    ]
    if not passed:
        return "<p class=soft>No other version passed its gate, so there is none to promote.</p>"
    options = "".join(f"<option value={number}>version {number}" for number in passed[:CHOICE])
    what = (
        f"<button name=go class=go>Promote</button><select name=version aria-label=version>{options}</select>"
    )
    return _acting(f"{dag_id}/promote", "promote", "promoting", what)


def _retrain(dag_id: str) -> str:
    what = "<button name=go>Retrain</button>"
    return _acting(f"{dag_id}/retrain", "retrain", "asking Airflow for a run", what)


def _release(held: Held) -> str:
    rows = f"{held.rows:,} rows" if held.rows else "the whole file"
    whose = f"{escape(held.file)} <small>{escape(held.dataset)}, {rows}</small>"
    what = f"<button name=go>Release</button><span>{whose}</span>"
    call = f"../arrivals/ingest_{held.dataset}/{held.digest}/release"
    return _acting(call, "release", "judging it again", what)


def _acting(call: str, act: str, doing: str, what: str) -> str:
    """One form: the script sends it as JSON, and the audit log keeps the reason."""
    return (
        f"<form data-call='{escape(call)}' data-act={act} data-doing='{doing}'>{what}"
        f"<input name=reason required maxlength={LONGEST} placeholder='why; the audit log keeps it' aria-label=reason>"
        "<span class=no role=status></span></form>"
    )
