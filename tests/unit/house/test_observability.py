"""Rules and dashboards hold to what is really told, and the real Prometheus and Alertmanager take them."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pipelines import catalog
from pipelines.loop.gauges.collector import Loop
from pipelines.monitoring.alarms import CAUSES, NAME
from pipelines.prove.servers import prometheus_missing
from pipelines.serving.metrics import FeatureHealth, Metrics
from pipelines.serving.outages.spool import Spool
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores

HERE = PROJECT / "observability"
RULES, TESTS = HERE / "prometheus" / "rules", HERE / "prometheus" / "rules_test"
BOARDS = sorted((HERE / "grafana" / "dashboards").glob("*.json"))
SEVERITIES = {"critical", "warning", "info"}
VARIABLE = re.compile(r"\$\{?(\w+)\}?")
PAGE = (PROJECT / "docs" / "how-to" / "watch-with-prometheus.md").read_text()
needs_prometheus = pytest.mark.skipif(prometheus_missing() is not None, reason=str(prometheus_missing()))


def rules() -> list[dict[str, Any]]:
    found = [yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yml"))]
    return [rule for each in found for group in each["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", ())


def expressions(board: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in panels(board) for target in panel["targets"]]


def asked(expression: str) -> set[str]:
    """The names of the metrics and recorded series in an expression."""
    return set(re.findall(r"\b(?:[a-z]+:)?evergreen_\w+(?::\w+)?", expression))


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The name of every series that serving and `evergreen metrics` really tell."""
    home = tmp_path_factory.mktemp("home")
    stores = Stores(Settings(_env_file=None, home=home))
    serving = Metrics()
    serving.add(FeatureHealth(lambda: ()))
    serving.add(Spool(stores.predictions, home / "spooled", 1.0))
    texts = (serving.shown().decode(), Loop(stores).shown().decode())
    names = set[str]()
    for family in (each for text in texts for each in text_string_to_metric_families(text)):
        ends = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}.get(family.type, ("",))
        names |= {f"{family.name}{end}" for end in ends}
    return names


def test_there_is_something_to_look_at() -> None:
    assert len(ALERTS) >= 20
    assert len(RECORDED) >= 10
    assert len(BOARDS) >= 3


def test_every_series_that_a_rule_names_is_told_by_an_endpoint_or_recorded(exposed: set[str]) -> None:
    lacking = {
        (r.get("alert") or r["record"], name)
        for r in rules()
        for name in asked(r["expr"]) - exposed - RECORDED
    }
    assert all(asked(rule["expr"]) for rule in rules() if "up{" not in rule["expr"])
    assert lacking == set()


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_series_that_a_panel_names_is_told_by_an_endpoint_or_recorded(
    path: Path, exposed: set[str]
) -> None:
    board = json.loads(path.read_text())
    found = expressions(board)
    assert len(found) >= 8
    assert {name for each in found for name in asked(each)} - exposed - RECORDED == set()
    variables = [each["query"]["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    assert {name for each in variables for name in asked(each)} <= exposed


def test_every_number_that_the_loop_tells_is_looked_at_somewhere(exposed: set[str]) -> None:
    texts = [rule["expr"] for rule in rules()] + [
        e for path in BOARDS for e in expressions(json.loads(path.read_text()))
    ]
    used = {name for text in texts for name in asked(text)}
    told = {
        name
        for name in exposed
        if name.startswith(("evergreen_model_", "evergreen_dataset_", "evergreen_train"))
    }
    unused = {
        "evergreen_model_champion_known_timestamp_seconds",
        "evergreen_model_judged_timestamp_seconds",
        "evergreen_training_began_timestamp_seconds",
    }
    assert told - used == unused


def test_every_alert_says_how_bad_it_is_what_is_wrong_and_where_to_read_on() -> None:
    anchors = {
        re.sub(r"[^a-z -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"(?m)^#+ (.*)$", PAGE)
    }
    for name, rule in ALERTS.items():
        assert re.fullmatch(r"([A-Z][a-z]+){2,}", name), name
        assert rule["labels"]["severity"] in SEVERITIES, name
        assert {"summary", "description", "runbook"} == set(rule["annotations"]), name
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (PROJECT / page).exists(), name
        assert anchor in anchors, name
        assert f"`{name}`" in PAGE, name


def test_what_asks_for_a_training_says_so_as_the_webhook_wants_it_and_nothing_else_does() -> None:
    asking = {name: rule["labels"] for name, rule in ALERTS.items() if "retrain" in rule["labels"]}
    assert set(asking) == {"ModelDrifted", "ModelDecayed"}
    for name, labels in asking.items():
        assert NAME.fullmatch(name)
        assert (labels["retrain"], labels["cause"] in CAUSES) == ("true", True)
        assert "by (model, version)" in ALERTS[name]["expr"]


def test_every_alert_is_seen_to_fire_and_not_to_fire() -> None:
    text = "".join(path.read_text() for path in TESTS.glob("*.yml"))
    entries = [test for path in TESTS.glob("*.yml") for test in yaml.safe_load(path.read_text())["tests"]]
    tried = {each["name"]: each["promql_expr_test"] for each in entries if each["name"] in ALERTS}
    assert set(tried) == set(ALERTS)
    for name, (quiet, loud) in tried.items():
        assert quiet["exp_samples"] == [], name
        assert f'alertname="{name}"' in loud["exp_samples"][0]["labels"]
        assert len(loud["exp_samples"]) == 1
    assert "nothing is scraped" in text


@needs_prometheus
@pytest.mark.parametrize("path", sorted(TESTS.glob("*.yml")), ids=lambda path: path.stem)
def test_the_rules_do_what_their_tests_say(path: Path) -> None:
    done = subprocess.run(["promtool", "test", "rules", path.name], cwd=TESTS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no file match" not in done.stdout + done.stderr


@needs_prometheus
def test_prometheus_finds_nothing_wrong_with_how_the_loop_tells_its_numbers(tmp_path: Path) -> None:
    text = Loop(Stores(Settings(_env_file=None, home=tmp_path))).shown()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@needs_prometheus
def test_prometheus_takes_our_configuration_and_each_rule() -> None:
    done = subprocess.run(
        ["promtool", "check", "config", "prometheus.yml"],
        cwd=HERE / "prometheus",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"SUCCESS: (\d+) rules found", done.stdout + done.stderr) != []
    assert "WARNING" not in done.stdout + done.stderr


@needs_prometheus
@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_prometheus_understands_each_panel(path: Path, tmp_path: Path) -> None:
    plain = [
        VARIABLE.sub("5m", e.replace("$model", ".*").replace("$dataset", ".*"))
        for e in expressions(json.loads(path.read_text()))
    ]
    made = [{"record": f"panel:n{n}", "expr": each} for n, each in enumerate(plain)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(made)} rules found" in done.stdout


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole_and_belongs_to_no_installation(path: Path) -> None:
    board = json.loads(path.read_text())
    every = list(panels(board))
    assert board["schemaVersion"] >= 36
    assert re.fullmatch(r"[a-z-]{1,40}", board["uid"])
    assert len({panel["id"] for panel in every}) == len(every)
    assert [v["type"] for v in board["templating"]["list"]].count("datasource") == 1
    names = {each["name"] for each in board["templating"]["list"]} | {"__rate_interval"}
    for panel in every:
        assert panel["title"], panel["id"]
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert source == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert set(VARIABLE.findall(target["expr"])) <= names
    assert not re.search(r"https?://|localhost|127\.0\.0\.1", path.read_text())


def test_no_two_panels_lie_on_each_other_and_no_two_boards_have_one_name() -> None:
    boards = [json.loads(path.read_text()) for path in BOARDS]
    assert len({board["uid"] for board in boards}) == len(boards) == len({board["title"] for board in boards})
    for board in boards:
        cells = [
            (x, y)
            for p in (panel["gridPos"] for panel in panels(board))
            for x in range(p["x"], p["x"] + p["w"])
            for y in range(p["y"], p["y"] + p["h"])
        ]
        assert len(cells) == len(set(cells)), board["title"]


def test_the_variables_of_a_board_are_labels_that_the_catalog_fills() -> None:
    for path in BOARDS:
        for each in json.loads(path.read_text())["templating"]["list"]:
            if each["type"] == "query":
                assert each["name"] in {"model", "dataset"}
    assert catalog.models()
    assert catalog.datasets()


def test_alertmanager_takes_our_configuration_and_sends_what_asks_for_a_training_there_alone(
    tmp_path: Path,
) -> None:
    text = (HERE / "alertmanager" / "alertmanager.yml").read_text()
    ours = yaml.safe_load(text)
    (asking,) = [route for route in ours["route"]["routes"] if route["receiver"] == "retraining"]
    assert (asking["matchers"], asking["continue"]) == (['retrain="true"'], True)
    assert ours["route"]["receiver"] == "people"
    (webhook,) = next(each for each in ours["receivers"] if each["name"] == "retraining")["webhook_configs"]
    assert webhook["http_config"] == {"authorization": {"credentials_file": "airflow.token"}}
    inhibited = "".join(str(rule) for rule in ours["inhibit_rules"])
    assert set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", inhibited)) <= set(ALERTS)
    if which("amtool") is None:
        pytest.skip("amtool is not installed on this machine")
    (tmp_path / "alertmanager.yml").write_text(text)
    (tmp_path / "airflow.token").write_text("x")
    command = ["amtool", "config", "routes", "test", "--config.file", str(tmp_path / "alertmanager.yml")]
    for labels, wanted in (
        (["retrain=true", "severity=warning"], "retraining"),
        (["severity=critical"], "people"),
    ):
        done = subprocess.run([*command, *labels], capture_output=True, text=True)
        assert (done.returncode, done.stdout.split(",")[0].strip()) == (0, wanted), done.stderr


def test_composes_alertmanager_differs_from_ours_in_addresses_alone() -> None:
    ours = (HERE / "alertmanager" / "alertmanager.yml").read_text().splitlines()
    theirs = (HERE / "compose" / "alertmanager" / "alertmanager.yml").read_text().splitlines()
    assert len(ours) == len(theirs)
    other = [(a, b) for a, b in zip(ours[1:], theirs[1:], strict=True) if a != b]
    assert [b.strip() for _, b in other] == [
        "- url: http://airflow-api-server:8080/evergreen/alertmanager",
        "authorization: {credentials_file: /token/airflow.token}",
    ]


def test_what_compose_scrapes_are_its_services_at_their_ports() -> None:
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    listens = {
        "serving": "8000",
        "metrics": str(Settings.model_fields["metrics_port"].default),
        "alertmanager": "9093",
    }
    local = {path.name for path in (HERE / "prometheus" / "targets").glob("*.yml")}
    assert local == {path.name for path in (HERE / "compose" / "targets").glob("*.yml")}
    found = dict[str, str]()
    for path in (HERE / "compose" / "targets").glob("*.yml"):
        for target in yaml.safe_load(path.read_text())[0]["targets"]:
            name, _, port = target.partition(":")
            found[name] = port
    assert found == listens
    assert set(found) <= set(services)


def test_on_one_machine_what_is_scraped_are_the_ports_of_the_settings() -> None:
    ports = {name: Settings.model_fields[f"{name}_port"].default for name in ("serving", "metrics")}
    said = {
        "serving": yaml.safe_load((HERE / "prometheus" / "targets" / "serving.yml").read_text()),
        "metrics": yaml.safe_load((HERE / "prometheus" / "targets" / "pipeline.yml").read_text()),
    }
    for name, port in ports.items():
        assert said[name] == [{"targets": [f"127.0.0.1:{port}"]}]


def test_no_credential_lies_beside_the_configuration() -> None:
    kept = [path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(kept) > 15
    assert [path.name for path in kept if path.suffix not in {".yml", ".json"}] == ["check.py"]
