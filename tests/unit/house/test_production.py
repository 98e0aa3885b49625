"""How the production test reads docker-compose.yml, and that its promises can be broken. Nothing is started here."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from pipelines.contracts import EvergreenError
from pipelines.settings import PROJECT
from tests.production.asker import Asked, Asker
from tests.production.compose import filled, read
from tests.production.faults import Felt
from tests.production.machine import LISTENS, Machine
from tests.production.services import at_home, family
from tests.production.site import SCALE, secrets_of
from tests.production.table import table

FILE = PROJECT / "docker-compose.yml"
GIVEN = secrets_of(PROJECT / ".env.example")
# The second and third have a port's number in them.
SECRETS = ["0123456789abcdef" * 2, "a5000b8080c6379d" * 2, "e5432f" * 8]


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("$A ${A} $$A", "x x $A"), ("${E:-y}", "y"), ("${E-y}", ""), ("${N-y}", "y"), ("${A:-y}", "x"),
        ("${A:+y}${N:+z}", "y"), ("${A:?needed}", "x"), ("${E?needed}", ""), ("a${N}b", "ab"),
    ],
)  # fmt: skip
def test_variables_are_filled_in_as_compose_does(said: str, means: str) -> None:
    assert filled({"key": [said]}, {"A": "x", "E": ""}) == {"key": [means]}


def test_a_secret_that_must_be_given_is_named_when_it_is_not() -> None:
    with pytest.raises(EvergreenError, match=r"POSTGRES_PASSWORD must be set: see \.env\.example"):
        read(FILE, {name: value for name, value in GIVEN.items() if name != "POSTGRES_PASSWORD"})


def test_a_name_without_a_value_is_passed_on_only_where_it_is_set() -> None:
    name = "AIRFLOW__OPENLINEAGE__TRANSPORT"
    assert name not in read(FILE, GIVEN)["airflow-worker"].environment
    assert read(FILE, GIVEN | {name: "x"})["airflow-worker"].environment[name] == "x"


def test_what_is_merged_reaches_each_service_and_its_own_words_win() -> None:
    services = read(FILE, GIVEN)
    assert len(services) == 12
    assert services["mlflow"].environment["AWS_DEFAULT_REGION"] == "us-east-1"
    assert services["mlflow"].environment["EVERGREEN_HOME"] == "/data"
    assert services["serving"].environment["EVERGREEN_KEYS"] == "/data/keys"
    assert services["airflow-worker"].environment["EVERGREEN_KEYS"] == "/keys"
    assert {*SCALE} <= {*services}


@pytest.mark.parametrize("secret", SECRETS)
def test_no_host_of_compose_is_left_and_no_secret_is_touched(secret: str) -> None:
    services = read(FILE, GIVEN | {"POSTGRES_PASSWORD": secret, "REDIS_PASSWORD": secret})
    machine = Machine(Path("/programs"), Path("/here"))
    seen = 0
    for name, service in services.items():
        told = machine.environment(service, f"{name}-1")
        texts = [*told.values(), *machine.command(service, f"{name}-1"), *machine.check(service, f"{name}-1")]
        for text in texts:
            assert not re.search(rf"(?:@|//|\b)(?:{'|'.join(LISTENS)}):\d", text), text
            assert not any(
                re.search(rf"(?<![\w/.]){inside}\b", text) for inside in machine.volumes(service)
            ), text
        if service.ours and "EVERGREEN_DATABASE_URL" in told:
            assert (
                f"evergreen:{secret}@127.0.0.1:{machine.port('postgres-1')}/evergreen"
                in told["EVERGREEN_DATABASE_URL"]
            )
            seen += 1
    assert seen >= 8


def test_replicas_on_one_machine_have_ports_of_their_own() -> None:
    machine, services = Machine(Path("/programs"), Path("/here")), read(FILE, GIVEN)
    name = "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT"
    ports = [machine.environment(services["airflow-worker"], f"airflow-worker-{n}")[name] for n in (1, 2)]
    assert len({*ports, *map(str, machine.ports.values())}) == len(machine.ports)
    asked = [machine.check(services["airflow-scheduler"], f"airflow-scheduler-{n}") for n in (1, 2)]
    assert asked[0] != asked[1]


def test_the_table_names_what_was_not_recovered_from() -> None:
    felt = Felt("redis killed", ("airflow-worker-1",), 12.0, None, 0.0, ("503", "503"), 10)
    assert not felt.recovered
    row = [next(iter(column.cells)) for column in table([felt]).columns]
    assert row == [
        "redis killed",
        "airflow-worker-1",
        "12.0",
        "not within the time",
        "0.0",
        "2 of 10 (2 503)",
    ]


def test_an_answer_that_did_not_come_is_counted_as_withheld_in_its_time_alone() -> None:
    asker = Asker("http://127.0.0.1:9", {})
    asker.asked += [
        Asked(1.0, 0.1, {"prediction_id": "a"}),
        Asked(2.0, 0.1, None, "503"),
        Asked(9.0, 0.1, None, "503"),
    ]
    assert [each.at for each in asker.withheld(0.0, 5.0)] == [2.0]
    assert len(asker.answered()) == 1


def test_a_process_that_left_its_container_s_session_is_still_of_the_container(tmp_path: Path) -> None:
    script = "setsid sleep 60 >/dev/null 2>&1 & sleep 60 & echo begun; wait"
    command, told = ["sh", "-c", script], {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    with subprocess.Popen(command, env=told, stdout=subprocess.PIPE, start_new_session=True) as begun:
        assert begun.stdout is not None
        begun.stdout.readline()
        try:
            assert begun.pid in family(begun.pid)
            assert len(at_home(tmp_path)) == 3
        finally:
            for pid in at_home(tmp_path):
                os.kill(pid, signal.SIGKILL)
