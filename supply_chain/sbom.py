"""Writes what a lock pins as CycloneDX 1.6: each version with the digests of its files, and its licence where known.

The list is `cyclonedx-py`'s of the lock; the licences are those that the installed packages declare.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from supply_chain.locks import every, pins

VERSION = "1.6"
Bom = dict[str, Any]


def listed(lock: Path) -> Bom:
    """cyclonedx-py's list of a lock."""
    return _said("requirements", str(lock))


def installed(python: Path) -> Bom:
    """cyclonedx-py's list of what an environment has, with the licences that it declares."""
    return _said("environment", str(python))


def _said(*words: str) -> Bom:
    command = [sys.executable, "-m", "cyclonedx_py", *words, "--of", "JSON", "--sv", VERSION, "--no-validate",
               "--output-reproducible", "-o", "-"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"cyclonedx-py could not list {words[-1]}: {done.stderr.strip()[-500:]}")
    return dict(json.loads(done.stdout))


def with_licences(bom: Bom, environments: Iterable[Bom]) -> Bom:
    """The same list with each component's licence, where an environment has that very version."""
    known = {
        _pin(each): each["licenses"]
        for environment in environments
        for each in environment.get("components", ())
        if "licenses" in each
    }
    return bom | {"components": [_component(each, known) for each in bom["components"]]}


def _component(each: Bom, known: dict[tuple[str, str], Any]) -> Bom:
    licences = known.get(_pin(each))
    plain = {
        key: value for key, value in each.items() if key != "description"
    }  # the lock's own line, once more
    return plain | ({"licenses": licences} if licences else {})


def _pin(each: Bom) -> tuple[str, str]:
    return each["name"].lower().replace("_", "-"), each.get("version", "")


def faults(text: str) -> str | None:
    """What in a list is not CycloneDX, by its own schema; None if it is."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return None if found is None else str(found)


def write(lock: Path, environments: list[Bom], folder: Path) -> tuple[Path, int, int]:
    """Write a lock's list; where it lies, how many components it has, and of how many the licence is known."""
    bom = with_licences(listed(lock), environments)
    components, text = bom["components"], json.dumps(bom, indent=1, sort_keys=True)
    wrong, wanted = faults(text), len(pins([lock]))
    if wrong or len(components) < wanted:
        raise SystemExit(
            f"{lock}: {wrong or f'{len(components)} components of {wanted} pins'}; nothing is written"
        )
    file = folder / f"{lock.stem}.cdx.json"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file, len(components), sum("licenses" in each for each in components)


def main(words: list[str]) -> int:
    """Writes a list of every lock that is named, or of all."""
    parser = argparse.ArgumentParser("supply_chain.sbom", description="What the locks pin, as CycloneDX.")
    parser.add_argument("locks", nargs="*", type=Path, help="the locks; every one if none is named")
    parser.add_argument(
        "--python", type=Path, action="append", default=[], help="environments that know licences"
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder of the lists")
    told = parser.parse_args(words)
    environments = [installed(python) for python in told.python]
    for lock in told.locks or every():
        file, components, licensed = write(lock, environments, told.out)
        print(f"{file}: {components} components, {licensed} with a licence", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
