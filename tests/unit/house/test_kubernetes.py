"""The profile for Kubernetes agrees with itself, with the settings and with the chart. No cluster is asked here."""

import re
from typing import Any

import pytest
import yaml

from pipelines.catalog import Resources, models
from pipelines.settings import PROJECT, Settings
from pipelines.stores.audit.keys import AUDIT, SIGNING, VERIFYING

HERE = PROJECT / "deploy" / "kubernetes"
HOW_TO = (PROJECT / "docs" / "how-to" / "run-on-kubernetes.md").read_text()
FIELDS = {f"EVERGREEN_{name.upper()}" for name in Settings.model_fields}
COMING: frozenset[str] = frozenset()
"""Named before the setting is: where the object store holds everything."""

SWITCH, TEXT, COUNT, MAP, LIST = bool, str, int, dict, list
CHART: dict[str, type] = {
    "fullnameOverride": TEXT, "useStandardNaming": SWITCH, "airflowVersion": TEXT, "airflowHome": TEXT,
    "images.airflow.repository": TEXT, "images.airflow.tag": TEXT, "images.airflow.pullPolicy": TEXT,
    "images.migrationsWaitTimeout": COUNT, "executor": TEXT, "uid": COUNT, "gid": COUNT,
    "securityContexts.pod": MAP, "securityContexts.containers": MAP, "data.metadataSecretName": TEXT,
    "fernetKeySecretName": TEXT, "apiSecretKeySecretName": TEXT, "jwtSecretName": TEXT, "extraEnvFrom": TEXT,
    "postgresql.enabled": SWITCH, "redis.enabled": SWITCH, "statsd.enabled": SWITCH, "flower.enabled": SWITCH,
    "pgbouncer.enabled": SWITCH, "webserver.defaultUser.enabled": SWITCH, "createUserJob.enabled": SWITCH,
    "dags.persistence.enabled": SWITCH, "dags.gitSync.enabled": SWITCH, "logs.persistence.enabled": SWITCH,
    "networkPolicies.enabled": SWITCH, "podTemplate": TEXT, "workers.serviceAccount.create": SWITCH,
    "workers.serviceAccount.name": TEXT, "workers.serviceAccount.automountServiceAccountToken": SWITCH,
    "config.kubernetes_executor": MAP, "triggerer.persistence.enabled": SWITCH,
    **{f"{part}.logGroomerSidecar.enabled": SWITCH for part in ("scheduler", "dagProcessor", "triggerer")},
    **{f"{part}.podDisruptionBudget.enabled": SWITCH for part in ("scheduler", "apiServer")},
    **{f"{part}.podDisruptionBudget.config.maxUnavailable": COUNT for part in ("scheduler", "apiServer")},
    **{f"{part}.startupProbe.{key}": COUNT for part in ("scheduler", "apiServer")
       for key in ("failureThreshold", "periodSeconds", "timeoutSeconds")},
    "apiServer.startupProbe.scheme": TEXT,
    **{f"{part}.{key}": kind for part in ("scheduler", "apiServer", "dagProcessor", "triggerer")
       for key, kind in {"replicas": COUNT, "extraVolumes": LIST, "extraVolumeMounts": LIST, "resources": MAP}.items()},
}  # fmt: skip
"""The keys that we set, with their types, as values.yaml of Airflow's chart 1.19 (Airflow 3.1.3) has them."""
PLACES = {"extraVolumes", "extraVolumeMounts", "resources", "pod", "containers", "kubernetes_executor"}
AIRFLOW_KEYS = {"connection", "fernet-key", "api-secret-key", "jwt-secret"}
"""What the chart looks for in the Secrets that are named to it."""


def values() -> dict[str, Any]:
    return dict(yaml.safe_load((HERE / "values.yaml").read_text()))


def template() -> dict[str, Any]:
    return dict(yaml.safe_load(values()["podTemplate"]))


def manifests() -> list[dict[str, Any]]:
    files = list(yaml.safe_load((HERE / "kustomization.yaml").read_text())["resources"])
    assert {*files} == {path.name for path in HERE.glob("*.yaml")} - {"values.yaml", "kustomization.yaml"}
    found = [each for name in files for each in yaml.safe_load_all((HERE / name).read_text())]
    assert len(found) >= 14
    return found


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in manifests() if each["kind"] == kind}


def serving() -> dict[str, Any]:
    return dict(named("Deployment")["evergreen-serving"]["spec"]["template"]["spec"])


def leaves(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        inner = isinstance(value, dict) and key not in PLACES
        found |= leaves(value, f"{above}{key}.") if inner else {f"{above}{key}": value}
    return found


def references(tree: Any, wanted: str) -> set[str]:
    """Every name that some place of a tree gives for a kind of reference."""
    if isinstance(tree, list):
        return {name for each in tree for name in references(each, wanted)}
    if not isinstance(tree, dict):
        return set()
    below = {name for value in tree.values() for name in references(value, wanted)}
    found = tree.get(wanted)
    here = found if isinstance(found, str) else found.get("name") if isinstance(found, dict) else None
    return below | ({here} if here else set())


def everything() -> list[Any]:
    return [values(), template(), yaml.safe_load(values()["extraEnvFrom"]), manifests()]


def test_every_value_is_one_that_the_chart_knows_and_of_its_type() -> None:
    found = leaves(values())
    assert len(found) > 60
    assert set(found) == set(CHART)
    assert {key: type(value) for key, value in found.items()} == CHART


def test_nothing_is_a_template_so_that_what_is_tested_is_what_is_rendered() -> None:
    assert "{{" not in (HERE / "values.yaml").read_text()


def test_secrets_are_referred_to_never_written() -> None:
    assert not named("Secret")
    secrets = references(everything(), "secretName") | references(everything(), "secretRef")
    secrets |= {value for key, value in values().items() if key.endswith("SecretName")}
    assert secrets == {"evergreen-airflow", "evergreen-backends", "evergreen-keys", "evergreen-verifying-key"}
    for name in secrets:
        assert f"kubectl create secret generic {name}" in HOW_TO, name
    for key in AIRFLOW_KEYS | {SIGNING, VERIFYING, AUDIT}:
        assert f"={key}" in HOW_TO or f"{key}=" in HOW_TO or f"/{key}" in HOW_TO, key
    told = {key: text for each in named("ConfigMap").values() for key, text in each["data"].items()}
    secret = re.compile(r"PASSWORD|SECRET|_KEY$|://[^/@]+:[^/@]+@")
    assert not [key for key, text in told.items() if secret.search(key) or secret.search(text)]


def test_what_is_referred_to_is_there() -> None:
    assert references(everything(), "configMapRef") == set(named("ConfigMap"))
    assert references(everything(), "claimName") == set(named("PersistentVolumeClaim"))
    accounts = {*named("ServiceAccount"), values()["workers"]["serviceAccount"]["name"]}
    assert references(everything(), "serviceAccountName") == accounts


def test_every_variable_of_ours_is_a_setting() -> None:
    used = {key for key in named("ConfigMap")["evergreen"]["data"] if key.startswith("EVERGREEN_")}
    assert len(used) >= 10
    assert used - FIELDS <= COMING
    told = set(re.findall(r"EVERGREEN_[A-Z_]+", HOW_TO))
    assert told - FIELDS <= COMING


def test_every_variable_of_airflow_is_one_of_its_options() -> None:
    from airflow.configuration import retrieve_configuration_description

    known = {
        f"AIRFLOW__{section}__{option}".upper()
        for section, body in retrieve_configuration_description().items()
        for option in body["options"]
    }
    used = {key for key in named("ConfigMap")["evergreen-airflow"]["data"] if key.startswith("AIRFLOW__")}
    assert len(used) >= 6
    assert used <= known


def test_serving_holds_the_verifying_key_alone_and_tasks_hold_nothing_of_airflows() -> None:
    assert references(serving(), "secretName") == {"evergreen-verifying-key"}
    assert references(template(), "secretName") | references(template(), "secretRef") == {
        "evergreen-keys",
        "evergreen-backends",
    }
    assert re.search(rf"evergreen-verifying-key[^\n]*{re.escape(VERIFYING)}\n", HOW_TO)


@pytest.mark.parametrize("pod", [template()["spec"], serving()], ids=["task", "serving"])
def test_no_pod_of_ours_is_root_or_can_become_it_or_asks_the_cluster(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == values()["securityContexts"]["containers"]
        assert container["resources"]["limits"]["memory"]
    assert "useradd --uid 10001" in (PROJECT / "Dockerfile").read_text()


def test_serving_is_asked_on_its_own_routes_and_port_and_has_two_replicas() -> None:
    deployment, container = named("Deployment")["evergreen-serving"], serving()["containers"][0]
    assert deployment["spec"]["replicas"] >= 2
    source = (PROJECT / "pipelines" / "serving" / "app.py").read_text()
    probes = {
        container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert probes == {"/health", "/ready"}
    assert all(f'@app.get("{path}"' in source or f'"{path}",' in source for path in probes)
    port = int(named("ConfigMap")["evergreen"]["data"]["EVERGREEN_SERVING_PORT"])
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    assert named("Service")["evergreen-serving"]["spec"]["ports"][0]["port"] == port


def test_one_image_plays_every_part() -> None:
    image = values()["images"]["airflow"]
    assert serving()["containers"][0]["image"] == f"{image['repository']}:{image['tag']}"
    (swapped,) = yaml.safe_load((HERE / "kustomization.yaml").read_text())["images"]
    assert swapped == {"name": image["repository"], "newTag": image["tag"]}


def test_airflow_is_the_one_of_the_lock() -> None:
    lock = (PROJECT / "locks" / "production.txt").read_text()
    assert f"\napache-airflow=={values()['airflowVersion']} " in lock
    assert "\napache-airflow-providers-cncf-kubernetes==" in lock
    assert "\napache-airflow-providers-amazon==" in lock  # remote logs on s3://
    data = named("ConfigMap")["evergreen-airflow"]["data"]
    assert data["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"].startswith("s3://")


def test_whatever_is_not_named_is_denied_and_each_rule_names_ports() -> None:
    policies = named("NetworkPolicy")
    assert policies["nobody"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, policy in policies.items():
        for direction in ("ingress", "egress"):
            assert all(rule.get("ports") for rule in policy["spec"].get(direction, ())), name


def test_every_stage_that_a_spec_may_name_is_a_task_of_some_dag(dags_text: str) -> None:
    stages = set(re.findall(r'executor_config=pod\(spec, "(\w+)"\)', dags_text))
    assert stages == set(Resources.model_fields)
    assert models()


@pytest.fixture
def dags_text() -> str:
    return "".join(path.read_text() for path in sorted((PROJECT / "dags").glob("*.py")))
