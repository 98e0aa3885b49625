"""Rules of the catalog's pages: each figure is the records', what is broken is said, and no text becomes markup."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import (
    DecayFinding,
    DomainFinding,
    DriftFinding,
    EvergreenError,
    MonitorReport,
    as_json,
)
from pipelines.gate import record
from pipelines.loop.costs.bill import lines
from pipelines.prove.promotion.world import World, opened
from pipelines.site import static
from pipelines.site.facts import ModelFacts
from pipelines.site.model import facts
from pipelines.site.told import told
from pipelines.stores import Stores
from pipelines.stores.audit.log import Entry
from pipelines.stores.watching.costs import DATASET, MODEL, OK, SERVE, Figure
from tests.champions import copied, crowned, entries

NOW = datetime(2013, 5, 1, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>'\"&<img src=x onerror=alert(1)>"
PLAIN = {
    "html", "meta", "link", "title", "style", "main", "nav", "section", "footer", "h1", "h2", "h3", "p", "div", "span",
    "b", "i", "small", "code", "a", "br", "ul", "li", "dl", "dt", "dd", "table", "thead", "tr", "th", "td", "details",
    "summary", "svg", "g", "rect", "text", "path", "line", "polyline", "circle", "strong", "em",
}  # fmt: skip


class Read(HTMLParser):
    """What a browser would make of a page: its tags with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "

    def links(self) -> list[str]:
        return [attributes["href"] or "" for tag, attributes in self.tags if tag == "a"]


@pytest.fixture
def world(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return copied(crowned(tmp_path_factory), tmp_path / "home")


def report(world: World, **said: Any) -> MonitorReport:
    """A monitor's report on the champion, as `monitor` writes it."""
    folder = world.home / "reports" / "monitor" / world.spec.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text("<p>Evidently's")
    plain: dict[str, Any] = {
        "model": world.spec.name, "as_of": NOW, "drifted": True, "drift_share": 0.61, "columns": {"distance": 0.44},
        "rows_reference": 9_876, "rows_current": 543, "metrics": {}, "html": str(folder / "report.html"), "json": "",
        "version": 2, "decayed": True, "explanation": "drifted",
        "decay": DecayFinding(True, "it lost more", 321, 0.5123, 0.6789, 0.0456, 0.2345),
        "findings": (DriftFinding("distance", "relation", 0.00123, 0.01, 0.4321, True, "shorter flights"),),
    }  # fmt: skip
    found = MonitorReport(**plain | said)
    (folder / "latest.json").write_text(json.dumps(as_json(found)))
    return found


def pages(stores: Stores, world: World, folder: Path) -> tuple[Read, Read]:
    """The page over all and the model's, as they are written."""
    written = static.write(stores, NOW, {world.spec.name: world.spec}, folder)
    assert [path.name for path in written] == ["index.html", f"{world.spec.name}.html"]
    over, model = (Read(path.read_text()) for path in written)
    return over, model


def test_champion_and_versions_are_those_of_registry_records_and_log(world: World, tmp_path: Path) -> None:
    stores = world.stores
    over, model = pages(stores, world, tmp_path / "site")
    last: Entry = entries(world, stores)[-1]
    for said in ("version 2", world.spec.owner, f"{last.at:%Y-%m-%d}"):
        assert said in over.text, said
    assert f"{last.at:%Y-%m-%d %H:%M}, rolled back to by {last.who}" in model.text
    assert last.why in model.text
    versions = stores.tracking.versions(world.spec.name)
    assert len(versions) == 5
    found = facts(world.spec, stores, NOW).history.value
    assert found is not None
    for version, shown in zip(versions, found.versions, strict=True):
        assert (shown.version, shown.digest, shown.verdict) == (
            version.version, version.digest, version.tags.get("verdict"),
        )  # fmt: skip
        if shown.verdict:
            verdict = record.read(version, stores)
            assert shown.loss == verdict.metrics["candidate"]["log_loss"]
            assert f"{shown.loss:,.4g}" in model.text
            for rule in verdict.rules:
                assert (rule.decision == "PASS") or f"{rule.name}: {rule.explanation}" in model.text
    assert found.versions[-3].override is not None
    assert "to see what becomes of it" in model.text


def test_drift_and_decay_are_what_the_monitor_wrote(world: World, tmp_path: Path) -> None:
    report(world)
    over, model = pages(world.stores, world, tmp_path / "site")
    assert "drifted, decayed" in over.text
    for said in (
        "drifted, decayed", "61%", "543 rows against 9,876", "distance", "what it says of the label", "shorter flights",
        "0.00123", "0.4321", "0.6789 on 321 rows", "0.5123 at its gate", "0.0456 to 0.2345", "it lost more",
    ):  # fmt: skip
        assert said in re.sub(r"\s+", " ", model.text), said
    assert f"{world.spec.name}/drift.html" in "".join(model.links())


def test_a_report_on_another_version_than_the_champion_is_said_to_be_that(
    world: World, tmp_path: Path
) -> None:
    report(world, version=1)
    over, model = pages(world.stores, world, tmp_path / "site")
    assert "about version 1, which is not champion any more" in model.text
    assert "of version 1" in over.text


def test_cost_and_answers_are_those_of_the_last_seven_days(world: World, tmp_path: Path) -> None:
    stores = world.stores
    for name, days, kind, subject in (
        ("a", 1, MODEL, world.spec.name),
        ("b", 9, MODEL, world.spec.name),
        ("c", 2, DATASET, "flights"),
    ):
        figure = Figure("train", kind, subject, OK, NOW - timedelta(days=days), 7.0, 42.5, run=name)
        stores.costs.add(figure, name, timedelta(days=90))
    found = facts(world.spec, stores, NOW).cost.value
    assert found is not None
    assert found.cpu == sum(
        line.cpu for line in lines(stores, NOW - timedelta(days=7), NOW, "stage", world.spec.name)
    )
    assert found.cpu == 42.5 * 2, (
        "its own step, and flights, which no other model names; not that of nine days ago"
    )
    _, model = pages(stores, world, tmp_path / "site")
    assert "85.0 s" in model.text


def test_the_cost_of_an_answer_stands_beside_that_of_the_steps(world: World, tmp_path: Path) -> None:
    stores, at = world.stores, NOW - timedelta(days=1)
    stores.costs.add_up(
        [Figure(SERVE, MODEL, world.spec.name, OK, at, 2.0, 3.0, runs=600, rows=1200, version=2)],
        timedelta(days=90),
    )
    _, model = pages(stores, world, tmp_path / "site")
    assert re.search(r"Version 2 gave 1,200 answers\s+at 2.50 ms of processors each", model.text)


def test_open_alerts_about_the_model_or_its_datasets_are_shown_and_no_others(
    world: World, tmp_path: Path
) -> None:
    stores, said = world.stores, {"severity": "critical", "why": "w", "act": "Yes.", "look": "there"}
    for what, whose in (
        ("mine", {"model": world.spec.name}),
        ("landed late", {"dataset": "flights"}),
        ("foreign", {"model": "x"}),
    ):
        stores.alerts.seen(what, 3, said | {"what": what} | whose, NOW)
    over, model = pages(stores, world, tmp_path / "site")
    assert [each.what for each in facts(world.spec, stores, NOW).alerts.value or ()] == [
        "landed late",
        "mine",
    ]
    assert "landed late" in model.text
    assert "foreign" not in model.text + over.text


def test_who_may_ask_is_named_by_keys_that_last_and_else_said_to_be_unknown(
    world: World, tmp_path: Path
) -> None:
    stores = world.stores
    assert "None is known" in pages(stores, world, tmp_path / "site")[1].text
    stores.api_keys.make("billing-app", ["predict"], NOW)
    stores.api_keys.make("auditor", ["read"], NOW)
    stores.api_keys.make("gone", ["predict"], NOW - timedelta(days=9), NOW - timedelta(days=1))
    found = facts(world.spec, stores, NOW).callers.value
    assert found is not None
    assert found.keys == ("billing-app",)
    assert "billing-app" in pages(stores, world, tmp_path / "site")[1].text


def test_before_anything_has_happened_there_are_pages_that_say_so(world: World, tmp_path: Path) -> None:
    empty = opened(tmp_path / "empty")
    over, model = pages(empty, world, tmp_path / "site")
    assert "none yet" in over.text
    assert "nothing landed" in over.text
    for said in (
        "No champion yet",
        "No version was trained yet",
        "No monitor has looked yet",
        "None is open",
    ):
        assert said in model.text, said


@pytest.mark.parametrize("broken", ["decision", "monitor", "database"])
def test_a_record_that_is_broken_is_said_in_its_place_and_stops_nothing_else(
    world: World, tmp_path: Path, broken: str
) -> None:
    stores = world.stores
    report(world)
    if broken == "decision":
        record.path_of(world.spec.name, 2, stores).write_text("{}")
    elif broken == "monitor":
        (world.home / "reports" / "monitor" / world.spec.name / "latest.json").write_text('{"model"')
    else:
        (world.home / "mlflow.db").write_text("no database")
    over, model = pages(stores, world, tmp_path / "site")
    said = {
        "decision": "is not the record the gate wrote",
        "monitor": "This cannot be shown",
        "database": "unknown",
    }
    assert said[broken] in model.text
    assert "Consumers" in model.text
    assert "Feature views" in over.text
    assert ("rolled back to by" in model.text) == (broken != "database")


def test_of_an_unexpected_fault_only_its_kind_is_told() -> None:
    def fails() -> None:
        raise RuntimeError("postgresql://me:secret@there")

    assert "secret" not in str(told("x", fails).trouble)
    assert "RuntimeError" in str(told("x", fails).trouble)


def test_nothing_from_outside_becomes_markup_or_asks_the_network(world: World, tmp_path: Path) -> None:
    stores = world.stores
    finding = DriftFinding(HOSTILE, HOSTILE, 0.001, 0.01, 0.5, True, HOSTILE)
    decay = DecayFinding(True, HOSTILE, 1, 0.1, 0.2, 0.0, 0.3)
    report(
        world,
        columns={HOSTILE: 0.5},
        findings=(finding,),
        decay=decay,
        vanished={HOSTILE: HOSTILE},
        explanation=HOSTILE,
    )
    stores.alerts.seen(
        "k",
        3,
        dict.fromkeys(("what", "why", "act", "look", "severity"), HOSTILE) | {"model": world.spec.name},
        NOW,
    )
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "CARD.md").write_text(
        f"# t\n\n{HOSTILE} ![x](https://example.org/x.png) [y](javascript:alert(1))"
    )
    spec = world.spec.model_copy(update={"owner": HOSTILE, "description": HOSTILE})
    shown = replace(world, spec=spec)
    found = facts(spec, stores, NOW)
    over, model = pages(stores, shown, tmp_path / "site")
    text = (tmp_path / "site" / "models" / f"{spec.name}.html").read_text()
    from pipelines.site import pages as made

    card = made.model(
        replace(found, about=told("c", (folder / "CARD.md").read_text)),
        static.Files(tmp_path, stores, True),
        NOW,
    )
    for page in (over, model, Read(card)):
        assert {tag for tag, _ in page.tags} <= PLAIN
        assert HOSTILE in page.text
        given = [(name, value or "") for _, attributes in page.tags for name, value in attributes.items()]
        assert not [name for name, _ in given if name.startswith("on") or name == "src"]
        assert not [value for name, value in given if name == "href" and value.startswith("javascript")]
        assert not [
            v
            for tag, a in page.tags
            if tag in {"link", "use"}
            for n, v in a.items()
            if n == "href" and v != "data:,"
        ]
    assert not re.search(r"url\(|@import|https?://", text)


def test_every_link_of_the_files_leads_to_a_file_within_the_folder(world: World, tmp_path: Path) -> None:
    report(world)
    folder = tmp_path / "site"
    static.write(world.stores, NOW, {world.spec.name: world.spec}, folder)
    tried = 0
    for page in (folder / "index.html", folder / "models" / f"{world.spec.name}.html"):
        read = Read(page.read_text())
        ids = {attributes.get("id") for _, attributes in read.tags}
        for link in read.links():
            tried += 1
            target = (page.parent / link).resolve()
            assert (
                link[1:] in ids
                if link.startswith("#")
                else target.is_file() and target.is_relative_to(folder)
            ), link
    assert tried > 15
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]


def test_one_models_page_alone_leads_to_a_page_over_it(world: World, tmp_path: Path) -> None:
    path = static.write_one(world.spec, world.stores, NOW, tmp_path)
    links = [path.parent / link for link in Read(path.read_text()).links() if not link.startswith("#")]
    assert (tmp_path / "index.html").resolve() in [each.resolve() for each in links]
    assert all(each.is_file() for each in links)
    over = (tmp_path / "index.html").read_bytes()
    static.write_one(world.spec, world.stores, NOW + timedelta(days=1), tmp_path)
    assert (tmp_path / "index.html").read_bytes() == over, "a page over more models would be lost"


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a\\b", "a\0b"])
def test_no_name_leads_a_page_out_of_its_folder(name: str) -> None:
    with pytest.raises(EvergreenError, match="cannot be the name of a page"):
        static.safe(name)


def test_the_monitors_report_is_taken_from_its_own_folder_alone(world: World, tmp_path: Path) -> None:
    from pipelines.site import watching

    (tmp_path / "secret.html").write_text("s")
    report(world, html=str(tmp_path / "secret.html"))
    assert watching.page(world.spec.name, world.stores) is None


def test_how_far_a_champion_is_behind_goes_by_the_datas_own_time(world: World) -> None:
    found = facts(world.spec, world.stores, NOW)
    assert isinstance(found, ModelFacts)
    assert found.behind is None, "nothing landed here"
    assert found.history.value is not None
    champion = found.history.value.champion
    assert champion is not None
    from pipelines.site.facts import DatasetFacts

    landed = [
        DatasetFacts(name, "o", reference, 1, 0, 1, 0, champion.as_of + timedelta(days=days), NOW, ())
        for name, reference, days in (("a", False, 3), ("b", False, 5), ("c", True, -90))
    ]
    assert replace(found, datasets=told("d", lambda: tuple(landed))).behind == timedelta(days=3)


def test_a_report_is_read_as_it_was_written_and_one_of_an_older_release_too(world: World) -> None:
    from pipelines.site import watching

    domain = DomainFinding(0.7, (0.5, 0.52), 1 / 3, True, ("distance",), 7, 1000)
    for said in (domain, None):
        written = report(world, domain=said)
        assert watching.report(as_json(written)) == written
    older = as_json(written)
    del older["domain"]
    assert watching.report(older) == written
