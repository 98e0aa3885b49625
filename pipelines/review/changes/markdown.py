"""A change as Markdown for its review. What files say is shown as they have it, and is neither markup nor a mention."""

import re
from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby
from typing import Any

from pipelines.review.changes.change import Change, Weight
from pipelines.review.changes.found import Diff, Touched

ORDER = (
    "gate",
    "label",
    "data",
    "features",
    "estimator",
    "training rows",
    "monitors",
    "schedule",
    "ownership",
    "about",
)
TICKS = re.compile(r"`+")
SPECIAL = re.compile(r"([\\`*{}\[\]<>#|!~]|(?<!\w)_|_(?!\w))")
UNSEEN = re.compile(
    r"[^\n\t\x20-\x7e\xa0-\u2027\u202f-\u2065\u2070-\ud7ff\uf900-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
LISTED = 20


def rendered(found: Diff, quality: Iterable[str] = ()) -> str:
    """The whole page; what was loosened comes first."""
    parts = [
        _head(found), _loosened(found), _other(found), _faults(found), *map(_model, found.models), _shared(found),
        _reached(found), _elsewhere(found), _quality(list(quality)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def code(text: str) -> str:
    """Text as it is, in one line of code."""
    shown = seen(text).replace("\n", " ")
    fence = "`" * (max(map(len, TICKS.findall(shown)), default=0) + 1)
    return (
        f"{fence} {shown} {fence}"
        if shown.startswith("`") or shown.endswith("`")
        else f"{fence}{shown}{fence}"
    )


def plain(text: str) -> str:
    """Text as it is, in a sentence: no markup of its own, and nobody is called by it."""
    return SPECIAL.sub(r"\\\1", seen(text)).replace("\n", " ").replace("@", "@\u2060")


def seen(text: str) -> str:
    """Without what a terminal or a browser would act on."""
    return UNSEEN.sub(lambda each: f"\\u{ord(each[0]):04x}", text)


def _head(found: Diff) -> str:
    count = len(found.models)
    said = "touches no model" if not count else f"touches {count} model{'s' if count > 1 else ''}"
    lines = [f"## This change {said}", f"From {code(found.revision)} ({found.commit[:12]}) to the work tree."]
    if found.ahead:
        lines.append(
            f"{code(found.revision)} has {found.ahead} commits that this checkout lacks, and they are told backwards"
            " here; `--merge-base` compares with where the two parted."
        )
    return "\n\n".join(lines)


def _loosened(found: Diff) -> str:
    rows = [f"- **{plain(name)}**: {_said(change)}" for name, change in found.weighed(Weight.LOOSENED)]
    if found.gates:
        shown = ", ".join(code(path) for path in found.gates[:LISTED])
        rows.append(f"- **every model**: the gate's own code changes, whatever the specs say: {shown}")
    return "\n".join(["### Loosened", "", *rows]) if rows else ""


def _other(found: Diff) -> str:
    rows = [f"- **{plain(name)}**: {_said(change)}" for name, change in found.weighed(Weight.CHANGED)]
    return "\n".join(["### Asks something else", "", *rows]) if rows else ""


def _said(change: Change) -> str:
    """A change in a line: what, from what to what, which way, and why it matters."""
    parts = [plain(change.what)]
    if change.before is not None and change.after is not None:
        parts.append(f"{code(change.before or ' ')} -> {code(change.after or ' ')}")
    elif change.before is not None:
        parts.append(f"removed, was {code(change.before)}" if change.before else "removed")
    elif change.after is not None:
        parts.append(f"added {code(change.after)}" if change.after else "added")
    said = " ".join(parts) + (f": **{change.weight}**" if change.weight else "")
    return f"{said} ({plain(change.note)})" if change.note else said


def _faults(found: Diff) -> str:
    rows = [
        f"| {plain(touched.model)} | {'mend' if fault.breaks else 'look'} | {code(fault.where)} | {plain(fault.what)} "
        f"| {plain(fault.remedy)} |"
        for touched in found.models
        for fault in touched.faults
    ]
    head = [
        "### What `evergreen check` finds",
        "",
        "| model | | where | what | remedy |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows]) if rows else ""


def _model(touched: Touched) -> str:
    through = ", ".join(code(each) for each in touched.through)
    head = [
        f"### {plain(touched.model)}: {touched.state}",
        f"Owner: {plain(touched.owner)}. Through {through}.",
    ]
    if touched.note:
        head.append(f"Not sound, {plain(touched.note)}.")
    return "\n\n".join([*head, *_parts(touched.changes)])


def _parts(changes: Iterable[Change]) -> Iterator[str]:
    """The changes of each part, the weightiest parts first, with their differences folded."""
    place = {part: number for number, part in enumerate(ORDER)}
    ordered = sorted(
        changes, key=lambda change: (place.get(change.part, 99), list(Weight).index(change.weight))
    )
    for part, group in groupby(ordered, key=lambda change: change.part):
        found = list(group)
        yield "\n".join([f"**{part}**", "", *(f"- {_said(change)}" for change in found)])
        yield from (_folded(change) for change in found if change.diff)


def _folded(change: Change) -> str:
    fence = "`" * max(3, max(map(len, TICKS.findall(change.diff)), default=0) + 1)
    title = escape(seen(change.what).replace("\n", " ")).replace(
        "@", "@\u2060"
    )  # no Markdown is read in there
    return f"<details><summary>{title}</summary>\n\n{fence}diff\n{seen(change.diff)}\n{fence}\n\n</details>"


def _shared(found: Diff) -> str:
    parts = []
    for name, changes in found.shared.items():
        users = [touched.model for touched in found.models if name in touched.through]
        used = f"Used by {', '.join(map(plain, users))}." if users else "No model that was asked for uses it."
        parts.append("\n\n".join([f"#### {plain(name)}", used, *_parts(changes)]))
    return "\n\n".join(["### What models share", *parts]) if parts else ""


def _reached(found: Diff) -> str:
    rows = [
        f"| {plain(name)} | {plain(each['kind'])} | {plain(each['name'])} | {plain(each['why'])} |"
        for name, reached in found.reached.items()
        for each in reached
    ]
    more = [f"\n{len(rows) - LISTED} more: `evergreen impact`."] if len(rows) > LISTED else []
    head = [
        "### Who depends on it, in this home",
        "",
        "| on | kind | name | why |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows[:LISTED], *more]) if rows else ""


def _elsewhere(found: Diff) -> str:
    if not found.elsewhere:
        return ""
    rooms = groupby(sorted(found.elsewhere), key=lambda path: "/".join(path.split("/")[:2]))
    said = ", ".join(f"{code(room)} {len(list(paths))}" for room, paths in rooms)
    return f"### Code of the project itself\n\nFiles changed: {said}. Every model is made by it; see git's differences."


def _quality(lines: list[str]) -> str:
    return "\n".join(["### Expected quality", "", *lines]) if lines else ""


def as_plain(found: Diff) -> dict[str, Any]:
    """The same for machines: every change with its sentence."""
    from pipelines.contracts import as_json

    def told(changes: Iterable[Change]) -> list[dict[str, Any]]:
        return [as_json(change) | {"said": str(change)} for change in changes]

    models = [as_json(touched) | {"changes": told(touched.changes)} for touched in found.models]
    loosened = [{"of": name, "said": str(change)} for name, change in found.weighed(Weight.LOOSENED)]
    return {
        "revision": found.revision, "commit": found.commit, "commits_missing_here": found.ahead, "loosened": loosened,
        "gate_code": found.gates, "models": models, "shared": {name: told(each) for name, each in found.shared.items()},
        "reached": as_json(found.reached), "elsewhere": list(found.elsewhere), "breaks": found.breaks,
    }  # fmt: skip
