"""Rules of the two statements about a version: what it was made from, and what lets it serve."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.contracts import EvergreenError
from pipelines.stores.audit.keys import Keys
from pipelines.stores.audit.licences import (
    BOUND,
    LICENCE,
    SINCE,
    Licence,
    licence_of,
    licensed,
    origin,
    verify_origin,
)

TAGS = dict.fromkeys([*BOUND, *SINCE], "x") | {"digest": "d" * 64}
GIVEN = Licence("m", 3, "d" * 64, "PASS", "r" * 64, "ada", datetime(2026, 1, 5, tzinfo=UTC))


@dataclass(frozen=True)
class Version:
    """A version as the registry gives it."""

    model: str = "m"
    version: int = 3
    run_id: str = "run"
    source: str = "models:/m-1"
    tags: dict[str, str] = field(default_factory=lambda: dict(TAGS))


def signed(keys: Keys) -> Version:
    return Version(tags=TAGS | origin(Version(), keys))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


def test_a_version_verifies_as_it_was_registered(keys: Keys) -> None:
    verify_origin(signed(keys), keys)


@pytest.mark.parametrize("name", [*BOUND, *SINCE])
def test_a_tag_that_the_signature_speaks_for_cannot_be_edited_or_removed(keys: Keys, name: str) -> None:
    tags = signed(keys).tags
    for broken in (tags | {name: "y"}, {k: v for k, v in tags.items() if k != name}):
        with pytest.raises(EvergreenError, match="refused"):
            verify_origin(Version(tags=broken), keys)


@pytest.mark.parametrize("name", SINCE)
def test_a_version_from_before_a_tag_holds_without_it_and_not_with_one_planted(keys: Keys, name: str) -> None:
    older = {tag: value for tag, value in TAGS.items() if tag != name}
    tags = older | origin(Version(tags=older), keys)
    verify_origin(Version(tags=tags), keys)
    with pytest.raises(EvergreenError, match="refused"):
        verify_origin(Version(tags=tags | {name: "y"}), keys)


@pytest.mark.parametrize("change", [{"model": "n"}, {"version": 4}, {"run_id": "other"}, {"source": "other"}])
def test_the_signature_of_another_version_is_refused(keys: Keys, change: dict) -> None:
    with pytest.raises(EvergreenError, match="refused"):
        verify_origin(replace(signed(keys), **change), keys)


def test_a_version_without_or_with_anothers_signature_is_refused(keys: Keys, tmp_path: Path) -> None:
    keys.sign(b"")
    with pytest.raises(EvergreenError, match="carries no signature"):
        verify_origin(Version(), keys)
    with pytest.raises(EvergreenError, match="refused"):
        verify_origin(signed(Keys(tmp_path / "other")), keys)


def test_a_licence_comes_back_as_it_was_given(keys: Keys) -> None:
    assert licence_of("m", 3, TAGS | licensed(GIVEN, keys), keys) == GIVEN


def test_a_version_without_a_licence_does_not_serve(keys: Keys) -> None:
    with pytest.raises(EvergreenError, match="has not passed its gate"):
        licence_of("m", 3, TAGS, keys)


def test_an_edited_or_foreign_licence_is_refused(keys: Keys, tmp_path: Path) -> None:
    tags = TAGS | licensed(GIVEN, keys)
    edited = tags | {LICENCE: tags[LICENCE].replace("PASS", "OVERRIDE")}
    assert edited != tags
    for broken in (
        edited,
        TAGS | licensed(GIVEN, Keys(tmp_path / "other")),
        tags | {LICENCE: tags[LICENCE].partition(" ")[2]},
    ):
        with pytest.raises(EvergreenError, match="not written by this deployment"):
            licence_of("m", 3, broken, keys)


@pytest.mark.parametrize("change", [{"model": "n"}, {"version": 4}, {"digest": "e" * 64}])
def test_the_licence_of_another_model_version_or_file_is_refused(keys: Keys, change: dict) -> None:
    given = licensed(replace(GIVEN, **change), keys)
    with pytest.raises(EvergreenError, match="carries the licence of"):
        licence_of("m", 3, TAGS | given, keys)
