"""docker-compose.yml as compose itself reads it: anchors, merges, variables, and what each service is told."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.contracts import EvergreenError

OURS = "evergreen:local"
VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-?+])(?P<word>[^}]*))?\})"
)


@dataclass(frozen=True)
class Service:
    """What the file says of one service, its variables filled in.

    `needs` names what it waits for and for which condition; `configs` are the files it is given, by their path.
    """

    name: str
    image: str
    command: tuple[str, ...]
    environment: dict[str, str]
    check: tuple[str, ...]
    restarts: bool
    needs: dict[str, str]
    configs: dict[str, str]
    volumes: tuple[str, ...]
    ports: tuple[str, ...]

    @property
    def ours(self) -> bool:
        return self.image == OURS


def read(file: Path, given: Mapping[str, str]) -> dict[str, Service]:
    """The services that start without a profile; EvergreenError names a variable that must be given and is not."""
    said = filled(yaml.safe_load(file.read_text()), given)
    contents = {name: told["content"] for name, told in said.get("configs", {}).items()}
    return {
        name: _service(name, told, contents, given)
        for name, told in said["services"].items()
        if not told.get("profiles")
    }


def filled(value: Any, given: Mapping[str, str]) -> Any:
    """The value with its variables filled in, at every depth; names of keys stay as they are."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: _variable(found, given), value)
    if isinstance(value, list):
        return [filled(each, given) for each in value]
    if isinstance(value, dict):
        return {name: filled(each, given) for name, each in value.items()}
    return value


def _variable(found: re.Match[str], given: Mapping[str, str]) -> str:
    if found["dollar"]:
        return "$"
    name, how, word = found["plain"] or found["name"], found["how"] or "", found["word"] or ""
    there = name in given and (bool(given[name]) or not how.startswith(":"))
    if how.endswith("+"):
        return word if there else ""
    if there:
        return given[name]
    if how.endswith("?"):
        raise EvergreenError(f"{name} must be set: {word}")
    return word


def _service(
    name: str, told: Mapping[str, Any], contents: Mapping[str, str], given: Mapping[str, str]
) -> Service:
    check = told.get("healthcheck", {}).get("test", [])
    needs = told.get("depends_on", {})
    return Service(
        name=name,
        image=told["image"],
        command=tuple(map(str, told.get("command", ()))),
        environment=_environment(told.get("environment", {}), given),
        check=("/bin/sh", "-c", *check[1:]) if check[:1] == ["CMD-SHELL"] else tuple(check[1:]),
        restarts=told.get("restart") == "unless-stopped",
        needs={each: how["condition"] for each, how in needs.items()},
        configs={each["target"]: contents[each["source"]] for each in told.get("configs", ())},
        volumes=tuple(told.get("volumes", ())),
        ports=tuple(told.get("ports", ())),
    )


def _environment(told: Mapping[str, Any] | list[str], given: Mapping[str, str]) -> dict[str, str]:
    """A name without a value is passed on from whoever starts compose, if it is set there."""
    pairs = [each.partition("=")[::2] for each in told] if isinstance(told, list) else list(told.items())
    passed = {name: given.get(name) if value is None else str(value) for name, value in pairs}
    return {name: value for name, value in passed.items() if value is not None}
