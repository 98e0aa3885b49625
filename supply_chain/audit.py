"""Holds every pinned version against the public advisories, and takes no silence for an answer.

pip-audit asks; it also says "no known vulnerabilities" of packages that it could not look up, so each pin is counted.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from supply_chain.locks import every, pins

ACCEPTED = Path(__file__).with_name("accepted.yaml")
CLEAN, FOUND, BLIND = 0, 1, 2
Pin = tuple[str, str]


class Accepted(NamedTuple):
    """An advisory that is known and lived with."""

    id: str
    package: str
    reason: str
    until: date


class Against(NamedTuple):
    """An advisory against a pinned version, by every name that it has."""

    package: str
    version: str
    names: tuple[str, ...]
    fixed: tuple[str, ...]


class Blind(Exception):
    """Not everything could be looked up, so nothing is known."""


def accepted(file: Path) -> list[Accepted]:
    """What is written in a file of accepted advisories; ValueError says what an entry lacks."""
    found = (yaml.safe_load(file.read_text()) or {}).get("accepted") or []
    return [_accepted(entry, place, file) for place, entry in enumerate(found, 1)]


def _accepted(entry: Any, place: int, file: Path) -> Accepted:
    given = {key: entry.get(key) for key in Accepted._fields} if isinstance(entry, dict) else {}
    lacks = [key for key in Accepted._fields if not given.get(key)]
    if lacks or not isinstance(given["until"], date):
        wanted = ", ".join(lacks) or "until as a date such as 2027-03-01"
        raise ValueError(f"{file.name}, entry {place}: give {wanted}")
    return Accepted(str(given["id"]), str(given["package"]).lower(), str(given["reason"]), given["until"])


def against(wanted: Iterable[Pin], service: list[str]) -> list[Against]:
    """What is known against these versions. Blind if even one of them could not be looked up."""
    rounds: dict[int, list[Pin]] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    for pin in wanted:  # a name may be pinned twice, for two platforms; pip-audit takes it once a run
        rounds[seen[pin[0]]].append(pin)
        seen[pin[0]] += 1
    return [each for asked in rounds.values() for each in _round(asked, service)]


def _round(asked: list[Pin], service: list[str]) -> list[Against]:
    said = _said(asked, service)
    answered = {(each["name"].lower(), each["version"]) for each in said if "skip_reason" not in each}
    missing = [f"{name} {version}" for name, version in asked if (name, version) not in answered]
    if missing:
        named = ", ".join(missing[:5]) + (" and others" if len(missing) > 5 else "")
        raise Blind(f"{len(missing)} of {len(asked)} versions could not be looked up: {named}")
    return [_against(each, fault) for each in said for fault in each["vulns"]]


def _against(each: dict[str, Any], fault: dict[str, Any]) -> Against:
    names = (fault["id"], *fault.get("aliases", ()))
    return Against(each["name"].lower(), each["version"], names, tuple(fault.get("fix_versions", ())))


def _said(asked: list[Pin], service: list[str]) -> list[dict[str, Any]]:
    """pip-audit's answer on versions; Blind with its last words if it has none."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "pins.txt"
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in asked))
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "-r", str(wanted), "-f", "json",
                   "--progress-spinner", "off", "--cache-dir", folder, *service]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return list(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Blind(f"the advisories do not answer: {last[:300]}") from None


def judged(found: list[Against], known: list[Accepted], today: date) -> list[str]:
    """Why the audit does not pass: what is not accepted, and what was accepted for too long."""
    faults = []
    for each in found:
        mine = [a for a in known if a.package == each.package and a.id in each.names]
        remedy = f"fixed in {', '.join(each.fixed)}" if each.fixed else "no version mends it"
        said = f"{each.package} {each.version}: {' '.join(each.names)}; {remedy}"
        if not mine:
            faults.append(said)
        elif max(a.until for a in mine) < today:
            faults.append(f"{said}; it was accepted until {max(a.until for a in mine)}")
    return faults


def main(words: list[str], today: date) -> int:
    """Says what is known against the locks: 0 nothing that is not accepted, 1 something, 2 it could not look."""
    told = _arguments(words)
    wanted = pins(told.locks or every())
    service = ["-s", "osv", "--osv-url", told.osv_url] if told.osv_url else ["-s", told.service]
    print(f"asking for advisories on {len(wanted)} pinned versions ...", flush=True)
    try:
        if not wanted:
            raise Blind("the locks pin nothing")
        found, known = against(wanted, service), accepted(told.accepted)
    except (Blind, ValueError) as error:
        print(f"the locks were NOT audited: {error}", file=sys.stderr)
        return CLEAN if told.where_reachable and isinstance(error, Blind) else BLIND
    faults = judged(found, known, today)
    for fault in faults:
        print(fault)
    print(f"{len(wanted)} versions looked up, {len(found)} advisories, {len(faults)} not accepted")
    return FOUND if faults else CLEAN


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("supply_chain.audit", description="What is known against the locks.")
    parser.add_argument("locks", nargs="*", type=Path, help="the locks; every one if none is named")
    parser.add_argument("--accepted", type=Path, default=ACCEPTED, help="the file of accepted advisories")
    parser.add_argument("--service", choices=["osv", "pypi"], default="osv", help="who is asked")
    parser.add_argument("--osv-url", help="another address of OSV's query API, such as a mirror's")
    parser.add_argument(
        "--where-reachable",
        action="store_true",
        help="let it pass, with a warning, where nobody can be asked",
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], datetime.now(UTC).date()))
