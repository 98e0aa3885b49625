"""The compose file agrees with settings, lock and image. No container is started here."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.settings import PROJECT, Settings

ONE_SHOT = {"airflow-migrate", "bucket"}
WATCHING = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000}
BORROWED = {"postgres", "redis", "objects", *WATCHING}
FIELDS = {f"EVERGREEN_{name.upper()}" for name in Settings.model_fields}


@pytest.fixture(scope="module")
def compose() -> dict:
    found = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    assert len(found["services"]) >= 10
    return found


def versions(lock: str) -> dict[str, str]:
    text = (PROJECT / "locks" / lock).read_text()
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;]+)", text, re.MULTILINE))


def test_every_variable_of_ours_is_a_setting_and_every_setting_is_documented(compose: dict) -> None:
    used = set(re.findall(r"EVERGREEN_[A-Z_]+", (PROJECT / "docker-compose.yml").read_text()))
    assert len(used) > 5
    assert used <= FIELDS
    assert set(re.findall(r"EVERGREEN_[A-Z_]+", (PROJECT / ".env.example").read_text())) == FIELDS


def test_no_secret_has_a_default_and_each_is_named_in_the_example(compose: dict) -> None:
    text = (PROJECT / "docker-compose.yml").read_text()
    variables = dict(re.findall(r"(?<!\$)\$\{([A-Z_]+)([^}]*)\}", text))
    secrets = {name for name in variables if not name.startswith("EVERGREEN_")}
    assert len(secrets) >= 8
    required = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    assert secrets == required
    example = (PROJECT / ".env.example").read_text()
    for name in secrets:
        assert re.search(rf"^{name}=$", example, re.MULTILINE), name


def test_all_our_services_share_the_one_image_that_installs_the_production_lock(compose: dict) -> None:
    ours = {name: s for name, s in compose["services"].items() if name not in BORROWED}
    assert {s["image"] for s in ours.values()} == {"evergreen:local"}
    assert {s["build"] for s in ours.values()} == {"."}
    dockerfile = (PROJECT / "Dockerfile").read_text()
    assert "--require-hashes -r locks/production.txt" in dockerfile
    assert re.search(r"^USER evergreen$", dockerfile, re.MULTILINE)


def test_what_can_be_built_into_the_image_installs_beside_the_production_lock() -> None:
    """A version that a later lock changed would take away what an earlier one installed."""
    dockerfile = (PROJECT / "Dockerfile").read_text()
    beside = set(re.findall(r"--require-hashes -r locks/(\w+\.txt)", dockerfile)) - {"production.txt"}
    assert beside == {"lineage.txt", "spark.txt"}
    ours = versions("production.txt")
    for lock in beside:
        theirs = versions(lock)
        assert len(theirs) > 3
        assert {n: v for n, v in theirs.items() if ours.get(n, v) != v} == {}, lock
        assert f"ARG {lock.removesuffix('.txt').upper()}=" in dockerfile
    assert "openjdk-17-jre-headless" in dockerfile, "Spark runs on Java"


def test_borrowed_images_have_a_version(compose: dict) -> None:
    for name in BORROWED:
        assert re.search(r":v?\d+\.\d+", compose["services"][name]["image"]), name


def test_the_production_lock_has_what_the_services_need_and_agrees_with_the_default_lock() -> None:
    default, production = versions("default.txt"), versions("production.txt")
    assert {"celery", "redis", "psycopg2-binary", "asyncpg", "boto3", "apache-airflow-providers-fab"} <= set(
        production
    )
    shared = set(default) & set(production)
    assert len(shared) > 150
    assert {name: default[name] for name in shared} == {name: production[name] for name in shared}


def test_no_password_stands_in_a_command_where_the_list_of_processes_shows_it(compose: dict) -> None:
    commands = {n: s["command"] for n, s in compose["services"].items() if n not in BORROWED}
    assert len(commands) >= 8
    assert not [
        name
        for name, said in commands.items()
        if re.search(r"(?<!\$)\$\{[A-Z_]*(PASSWORD|KEY|SECRET)", str(said))
    ]


def test_every_long_running_service_has_a_health_check_and_restarts(compose: dict) -> None:
    for name, service in compose["services"].items():
        if name not in ONE_SHOT:
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name


def test_ports_are_published_on_loopback_only_and_agree_with_settings(compose: dict) -> None:
    services = compose["services"]
    for name, number in WATCHING.items():
        assert services[name]["ports"] == [f"127.0.0.1:{number}:{number}"]
    published = [port for n, s in services.items() if n not in WATCHING for port in s.get("ports", [])]
    found = {}
    for port in published:
        match = re.fullmatch(r"127\.0\.0\.1:\$\{EVERGREEN_([A-Z]+)_PORT:-(\d+)\}:(\d+)", port)
        assert match, port
        found[f"{match[1].lower()}_port"] = (int(match[2]), int(match[3]))
    defaults = {name: Settings.model_fields[name].default for name in found}
    assert set(found) == {"airflow_port", "mlflow_port", "serving_port"}
    assert found == {name: (value, value) for name, value in defaults.items()}


def test_each_health_check_asks_the_port_that_its_command_listens_on(compose: dict) -> None:
    asked = {
        name: set(re.findall(r"127\.0\.0\.1:(\d+)", " ".join(service["healthcheck"]["test"])))
        for name, service in compose["services"].items()
        if "127.0.0.1" in str(service.get("healthcheck"))
    }
    assert set(asked) == {
        "airflow-api-server", "airflow-scheduler", "mlflow", "serving", "objects", "metrics", *WATCHING,
    }  # fmt: skip
    for name, ports in asked.items():
        service = compose["services"][name]
        told = " ".join(service.get("command", ()))
        if name in WATCHING:  # their own default
            told = str(WATCHING[name])
        if name == "airflow-scheduler":
            assert service["environment"]["AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK"] == "true"
            told = str(_options()["scheduler"]["options"]["scheduler_health_check_server_port"]["default"])
        if name == "metrics":
            told = str(Settings.model_fields["metrics_port"].default)
        if name == "serving":
            told = service["environment"]["EVERGREEN_SERVING_PORT"]
        assert len(ports) == 1, name
        assert ports <= set(re.findall(r"\d+", told)), name


def test_what_only_watches_starts_when_it_is_asked_for_and_nobody_waits_for_it(compose: dict) -> None:
    optional = {name for name, s in compose["services"].items() if s.get("profiles") == ["observability"]}
    assert optional == {*WATCHING, "metrics"}
    for name, service in compose["services"].items():
        assert not set(service.get("depends_on", {})) & optional, name


def test_every_address_inside_names_a_service_and_a_port_it_has(compose: dict) -> None:
    text = (PROJECT / "docker-compose.yml").read_text()
    listens = {
        "airflow-api-server": "8080",
        "mlflow": "5000",
        "objects": "8333",
        "redis": "6379",
        "postgres": "5432",
        "prometheus": "9090",
        "serving": "8000",
    }
    hosts = re.findall(r"(?:http://|@|_URL: |hosts=)([a-z][a-z-]+):(\d+)", text)
    assert len(hosts) >= 6
    assert {name for name, _ in hosts} <= set(compose["services"])
    assert all(listens[name] == port for name, port in hosts), hosts


def test_every_option_of_airflow_exists_in_the_locked_airflow(compose: dict) -> None:
    """An option that Airflow does not know is ignored without a word. Providers bring CELERY of their own."""
    known = _options()
    keys = {key for service in compose["services"].values() for key in service.get("environment", {})}
    told = [key.split("__")[1:] for key in sorted(keys) if key.startswith("AIRFLOW__")]
    assert len(told) > 8
    for section, option in told:
        if section.partition("_")[0] not in {"CELERY", "OPENLINEAGE"}:  # these are options of providers
            assert option.lower() in known[section.lower()]["options"], (section, option)


def _options() -> dict:
    """Every option of the locked Airflow, by section."""
    package = importlib.util.find_spec("airflow")
    assert package is not None
    assert package.origin is not None
    return yaml.safe_load((Path(package.origin).parent / "config_templates" / "config.yml").read_text())


def test_only_what_decides_sees_the_keys_that_sign(compose: dict) -> None:
    sees = {name for name, s in compose["services"].items() if "keys:/keys" in s.get("volumes", [])}
    assert sees == {name for name in compose["services"] if name.startswith("airflow-")}
    for name in ("serving", "metrics"):
        told = compose["services"][name]
        assert told["volumes"] == ["data:/data"]
        assert told["environment"]["EVERGREEN_KEYS"] == "/data/keys"  # where the one that verifies is shown
    assert compose["services"]["mlflow"]["volumes"] == compose["services"]["bucket"]["volumes"] == []
    assert re.search(
        r"mkdir -p .* /keys .* chown -R evergreen .* /keys", (PROJECT / "Dockerfile").read_text()
    )


def test_no_health_check_starts_airflow_to_ask_it(compose: dict) -> None:
    checks = {
        name: " ".join(s["healthcheck"]["test"])
        for name, s in compose["services"].items()
        if "healthcheck" in s
    }
    assert len(checks) >= 10
    assert not [
        name for name, said in checks.items() if re.search(r"\bairflow (?!-)|airflow\.providers", said)
    ]


def test_a_killed_worker_is_missed_within_a_minute_and_later_than_a_heartbeat_may_fail(compose: dict) -> None:
    told, known = compose["x-evergreen"]["environment"], _options()
    beat = {
        n: float(known["workers"]["options"][n]["default"])
        for n in ("min_heartbeat_interval", "max_failed_heartbeats")
    }
    missed = float(told["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"])
    assert beat["min_heartbeat_interval"] * beat["max_failed_heartbeats"] < missed <= 60


def test_neither_secrets_nor_state_enter_the_image() -> None:
    ignored = set((PROJECT / ".dockerignore").read_text().split())
    assert {".env", ".git", ".venv", "var"} <= ignored
    assert not ignored & {"dags", "plugins", "pipelines", "feature_repo", "expectations", "locks"}


def test_volumes_and_dependencies_exist(compose: dict) -> None:
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (PROJECT / source).exists(), (name, source)
        assert set(service.get("depends_on", {})) <= set(compose["services"]), name


def test_every_command_of_ours_exists(compose: dict) -> None:
    commands = {s["command"][0] for n, s in compose["services"].items() if n not in BORROWED}
    assert {"airflow", "mlflow", "python"} <= commands
    for command in commands - {"bash"}:
        assert (Path(sys.executable).parent / command).exists(), command


def test_docker_itself_accepts_the_file(tmp_path: Path) -> None:
    """Runs where the compose plugin is installed; it needs no engine."""
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("docker's compose plugin is not installed here")
    filled = re.sub(r"^([A-Z_]+)=$", r"\1=x", (PROJECT / ".env.example").read_text(), flags=re.MULTILINE)
    (tmp_path / ".env").write_text(filled)
    command = [docker, "compose", "--env-file", str(tmp_path / ".env"), "config", "-q"]
    subprocess.run(command, cwd=PROJECT, check=True)


def test_operators_start_and_approvers_decide_and_neither_sees_secrets() -> None:
    """Of the roles that `airflow-migrate` brings; tests/integration/house/test_roles.py asks FAB itself."""
    said = json.loads((PROJECT / "docker" / "roles.json").read_text())
    may = {(each["name"], act, each["resource"]) for each in said for act in each["action"].split(",")}
    assert {name for name, _, _ in may} == {"Operator", "Approver"}
    starts, decides = ("can_create", "DAG Runs"), ("can_edit", "HITL Detail")
    assert {("Operator", *starts), ("Approver", *decides)} <= may
    assert not {("Operator", *decides), ("Approver", *starts)} & may
    hidden = {"Connections", "Variables", "Configurations", "Users", "Roles", "Permissions", "Audit Logs"}
    assert not {resource for _, _, resource in may} & hidden
    assert not {act for _, act, _ in may if act == "can_delete"}
    migrate = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]["airflow-migrate"]
    assert "airflow roles import" in str(migrate["command"])


def test_each_secret_of_airflow_can_come_from_a_command_or_its_secrets_backend(compose: dict) -> None:
    """Airflow takes _CMD and _SECRET for the options that it calls sensitive, and for no other."""
    from airflow.configuration import conf

    told = [key.split("__")[1:] for key, value in compose["x-evergreen"]["environment"].items()
            if "AIRFLOW__" in key and re.search(r"\$\{[A-Z_]*(PASSWORD|KEY|SECRET)", str(value))]  # fmt: skip
    assert len(told) >= 4
    sensitive = {(section.lower(), option.lower()) for section, option in conf.sensitive_config_values}
    celery = {"broker_url", "result_backend"}  # its provider says so, which is not installed here
    assert {(s.lower(), o.lower()) for s, o in told if o.lower() not in celery} <= sensitive


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("redis://:hush@redis:6379/1", 1),
        ("rediss://:hush@redis:6379/1", 0),
        ("redis://:hush@127.0.0.1:6379/1", 0),
    ],
)
def test_no_part_of_airflow_starts_over_a_plain_connection_where_encryption_is_required(
    address: str, code: int, tmp_path: Path
) -> None:
    told = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")]),
        "EVERGREEN_TLS": "required",
        "EVERGREEN_HOME": str(tmp_path),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__CELERY__BROKER_URL": address,
    }
    command = [sys.executable, "-c", "import airflow.settings; airflow.settings.initialize()"]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr[-2000:]
    assert ("AIRFLOW__CELERY__BROKER_URL" in done.stderr) == bool(code)
    assert "hush" not in done.stderr
