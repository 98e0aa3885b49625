"""The folder list is the picture: rooms in the order of the loop, none a heap, each saying what it is."""

import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import pipelines
from pipelines.settings import PROJECT

ROOMS = (
    "reading", "validation", "ingestion", "features", "training", "gate", "promotion", "serving", "monitoring",
    "rollout", "record", "erasure", "alerting", "loop", "backup", "scaffold", "review", "site",
)  # fmt: skip
BESIDE = ("catalog", "datasets", "models", "upstream", "stores", "local", "prove", "cli")
HOUSE = PROJECT / "pipelines"
MOST_FILES, LARGEST = 15, 0.15
ARCHITECTURE = (PROJECT / "docs" / "architecture.md").read_text()


def _folders() -> list[Path]:
    return [path for path in HOUSE.rglob("*") if path.is_dir() and path.name != "__pycache__"]


def _lines(folder: Path, deep: bool = True) -> int:
    found = folder.rglob("*.py") if deep else folder.glob("*.py")
    return sum(len(path.read_text().splitlines()) for path in found)


def test_every_folder_of_the_house_is_a_room_or_beside_one() -> None:
    there = {path.name for path in HOUSE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert there == {*ROOMS, *BESIDE}


def test_no_folder_holds_more_files_than_one_can_look_over() -> None:
    counts = {path: sum(1 for f in path.iterdir() if f.is_file()) for path in [HOUSE, *_folders()]}
    assert len(counts) > 20
    assert {path: count for path, count in counts.items() if count > MOST_FILES} == {}


def test_no_folder_is_a_heap_of_code() -> None:
    whole = _lines(HOUSE)
    assert whole > 10_000
    assert [p for p in _folders() if _lines(p, deep=False) > LARGEST * whole] == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_enters_what_leaves_and_what_it_may_not_do(room: str) -> None:
    said = importlib.import_module(f"pipelines.{room}").__doc__ or ""
    assert re.search(r"\bIn comes?\b.*\bout go(es)?\b", said, re.DOTALL)
    assert re.search(r"\b(no|not|nothing|never|alone)\b", said)


@pytest.mark.parametrize("package", [*ROOMS, "stores"])
def test_what_a_room_does_not_list_is_protected(package: str) -> None:
    """Listed in its own __init__, or in that of the sub-room it is in; everything else is in a contract."""
    protected = _protected()
    assert protected
    open_to_all = set()
    for name in _packages(f"pipelines.{package}"):
        listed = getattr(importlib.import_module(name), "__all__", None) or []
        modules = list(pkgutil.iter_modules(importlib.import_module(name).__path__))
        open_to_all |= {f"{name}.{m.name}" for m in modules if not m.ispkg and m.name not in listed}
    if package == "stores":  # its own modules are what every room is handed
        open_to_all = {name for name in open_to_all if name.count(".") > 2 or name.endswith("_tables")}
    assert open_to_all - protected - {"pipelines.serving.__main__"} == set()


def _protected() -> set[str]:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return {name for each in contracts if each["type"] == "protected" for name in each["protected_modules"]}


def _packages(name: str) -> list[str]:
    package = importlib.import_module(name)
    inside = pkgutil.walk_packages(package.__path__, f"{name}.")
    return [name, *(found.name for found in inside if found.ispkg)]


def test_a_list_of_public_names_names_what_is_there() -> None:
    tried = 0
    for found in pkgutil.walk_packages(pipelines.__path__, "pipelines."):
        if found.ispkg:
            package = importlib.import_module(found.name)
            modules = {m.name for m in pkgutil.iter_modules(package.__path__)}
            tried += len(getattr(package, "__all__", ()))
            assert {
                n for n in getattr(package, "__all__", ()) if n not in modules and not hasattr(package, n)
            } == set()
    assert tried > 40


def test_the_folder_list_of_the_docs_is_that_of_the_house() -> None:
    listed = set(re.findall(r"(?m)^\| `(pipelines/[a-z_/]+)/` \|", ARCHITECTURE))
    there = {path.relative_to(PROJECT).as_posix() for path in _folders()}
    within = {
        path
        for path in there
        if path.startswith("pipelines/prove/") or (path.count("/") > 1 and "/models/" in path)
    }
    assert listed == there - within


def test_the_one_place_of_each_change_exists() -> None:
    table = ARCHITECTURE.split("## Where do I change ...?")[1].split("## ")[0]
    places = re.findall(r"(?m)^\| [^|]+ \| `([^`]+)` \|$", table)
    assert len(places) == 18
    assert len(set(places)) == 18
    assert [place for place in places if not (PROJECT / place).exists()] == []


@pytest.mark.parametrize("kind", ["unit", "integration"])
def test_tests_lie_in_the_rooms_they_test(kind: str) -> None:
    folder = PROJECT / "tests" / kind
    rooms = {path.name for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms
    assert rooms <= {*ROOMS, *BESIDE, "house"}
    assert list(folder.glob("test_*.py")) == []
