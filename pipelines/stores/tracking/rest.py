"""MLflow's records from its server, over the REST API that its own client speaks."""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from pipelines.contracts import TransientError
from pipelines.stores.tracking.records import ABSENT, PROMPT, Kept, Run, no_run, no_version

API = "api/2.0/mlflow"
SECONDS = 30.0
PAGE = 200
MISSING = {"RESOURCE_DOES_NOT_EXIST"}
USER, WORD, TOKEN = (f"MLFLOW_TRACKING_{name}" for name in ("USERNAME", "PASSWORD", "TOKEN"))
PLAIN = {"MLFLOW_TRACKING_URI", USER, WORD, TOKEN}
"""What is known here of how MLflow's client asks; any other MLFLOW_TRACKING_ in the environment is its own to know."""
Login = tuple[str, str]


def plain(url: str) -> bool:
    """Whether the server is asked without a transport or kept credentials of its own, which are MLflow's to know."""
    told = any(name.startswith("MLFLOW_TRACKING_") and name not in PLAIN for name in os.environ)
    parts = urlsplit(url)
    kept = (Path.home() / ".mlflow" / "credentials").exists()
    return parts.scheme in ("http", "https") and parts.username is None and not told and not kept


def credentials(login: Login | None) -> str | None:
    """What a request says of who asks: user and password, of the settings or MLflow's own variables, else its token."""
    user, word = login or (os.environ.get(USER, ""), os.environ.get(WORD, ""))
    if user and word:
        return f"Basic {b64encode(f'{user}:{word}'.encode()).decode()}"
    token = os.environ.get(TOKEN)
    return f"Bearer {token}" if token else None


class Silent(TransientError):
    """The server did not answer, or said what is no answer."""


class Rest:
    """The records of one server, asked with this login if it wants one. TransientError if it does not answer."""

    def __init__(self, url: str, login: Login | None = None) -> None:
        self._url, self._login = url.rstrip("/"), login

    def fits(self) -> bool:
        """Whether it can be asked from here, as MLflow's client would ask it."""
        return plain(self._url)

    def models(self) -> dict[str, dict[str, str]]:
        """The tags of every registered model, by name."""
        found = self._pages("registered-models/search", "registered_models")
        named = {each["name"]: _pairs(each.get("tags")) for each in found}
        return {name: tags for name, tags in named.items() if tags.get(PROMPT) != "true"}

    def versions(self, model: str) -> list[Kept]:
        """Every version of a model, the newest first."""
        found = self._pages("model-versions/search", "model_versions", filter=f"name = '{model}'")
        return sorted(map(_kept, found), key=lambda each: each.version, reverse=True)

    def version(self, model: str, number: int) -> Kept | None:
        return self._one("model-versions/get", name=model, version=number)

    def aliased(self, model: str, alias: str) -> Kept | None:
        """The version an alias names."""
        return self._one("registered-models/alias", name=model, alias=alias)

    def every(self, alias: str) -> Callable[[str], Kept | None]:
        """The version an alias names, model by model, each asked when it is looked up.

        Once the server was silent no other is asked: that it is would take the timeout of each.
        """
        silent = list[Silent]()

        def named(model: str) -> Kept | None:
            if silent:
                raise silent[0]
            try:
                return self.aliased(model, alias)
            except Silent as error:
                silent.append(error)
                raise

        return named

    def _one(self, path: str, **asked: str | int) -> Kept | None:
        found = self._asked(path, **asked)
        return None if found is None else _kept(found["model_version"])

    def run(self, run_id: str) -> Run:
        found = self._asked("runs/get", run_id=run_id)
        if found is None:
            raise no_run(run_id)
        said, data = found["run"]["info"], found["run"]["data"]
        metrics = {each["key"]: float(each["value"]) for each in data.get("metrics", ())}
        tags, parameters = _pairs(data.get("tags")), _pairs(data.get("params"))
        return Run(run_id, int(said["start_time"]), said["artifact_uri"], tags, parameters, metrics)

    def location(self, model_id: str) -> str | None:
        """Where the files of a logged model (m-...) lie."""
        found = self._asked(f"logged-models/{model_id}")
        return None if found is None else str(found["model"]["info"]["artifact_uri"])

    def logged(self, run_id: str, name: str) -> str | None:
        """Where the files of the model lie that a run logged under a name."""
        run = self._asked("runs/get", run_id=run_id)
        if run is None:
            return None
        asked = {"experiment_ids": [run["run"]["info"]["experiment_id"]], "filter": f"name = '{name}'"}
        found = (self._said("POST", "logged-models/search", asked) or {}).get("models", ())
        its = (each["info"] for each in found if each["info"].get("source_run_id") == run_id)
        return next((str(each["artifact_uri"]) for each in its), None)

    def set_alias(self, model: str, alias: str, version: int) -> None:
        said = {"name": model, "alias": alias, "version": str(version)}
        if self._said("POST", "registered-models/alias", said) is None:
            raise no_version(model, version)

    def drop_alias(self, model: str, alias: str) -> None:
        self._said("DELETE", "registered-models/alias", {"name": model, "alias": alias})

    def tag(self, model: str, version: int, key: str, value: str) -> None:
        said = {"name": model, "version": str(version), "key": key, "value": value}
        if self._said("POST", "model-versions/set-tag", said) is None:
            raise no_version(model, version)

    def tag_model(self, model: str, key: str, value: str) -> None:
        if (
            self._said("POST", "registered-models/set-tag", {"name": model, "key": key, "value": value})
            is None
        ):
            raise no_version(model, 1)

    def describe(self, model: str, version: int, text: str) -> None:
        said = {"name": model, "version": str(version), "description": text}
        if self._said("PATCH", "model-versions/update", said) is None:
            raise no_version(model, version)

    def _pages(self, path: str, what: str, **asked: str) -> Iterator[dict[str, Any]]:
        """Everything a search finds, page by page."""
        token: str | None = ""
        while token is not None:
            turn = {"page_token": token} if token else {}
            page = self._asked(path, max_results=PAGE, **asked, **turn) or {}
            yield from page.get(what, ())
            token = page.get("next_page_token") or None

    def _asked(self, path: str, **asked: str | int) -> dict[str, Any] | None:
        return self._said("GET", f"{path}?{urlencode(asked)}" if asked else path)

    def _said(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The server's answer; None if what is asked for is not there."""
        data = None if body is None else json.dumps(body).encode()
        address, sent = f"{self._url}/{API}/{path}", {"Content-Type": "application/json"}
        request = Request(address, data, sent, method=method)  # noqa: S310 - the deployment's own address
        if (said := credentials(self._login)) is not None:
            request.add_unredirected_header("Authorization", said)
        try:
            with urlopen(request, timeout=SECONDS) as reply:  # noqa: S310
                return dict(json.load(reply))
        except HTTPError as error:
            told = error.read().decode(errors="replace")
            if _code(told) in (ABSENT if method == "GET" else MISSING):
                return None
            raise TransientError(f"MLflow at {self._url} answered {error.code}: {told[:500]}") from error
        except (URLError, TimeoutError, ConnectionError, ValueError) as error:
            raise Silent(f"MLflow at {self._url} does not answer: {error}") from error


def _code(told: str) -> str | None:
    try:
        return str(json.loads(told)["error_code"])
    except (ValueError, KeyError, TypeError):
        return None


def _kept(found: dict[str, Any]) -> Kept:
    tags = _pairs(found.get("tags"))
    return Kept(found["name"], int(found["version"]), found.get("run_id", ""), found["source"], tags)


def _pairs(found: list[dict[str, str]] | None) -> dict[str, str]:
    return {each["key"]: each.get("value", "") for each in found or ()}
