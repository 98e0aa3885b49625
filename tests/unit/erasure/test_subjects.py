"""Who an erasure is about: named well or not at all, and known in every form in which texts write a value."""

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import EvergreenError
from pipelines.erasure.subjects import ERASED, Sought, columns, said_in, sought

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=4, max_size=12
).filter(lambda word: not word.isdigit() and ERASED not in word and word not in ERASED)


def test_the_catalog_names_persons_of_card_payments() -> None:
    assert columns()["customer_id"] == ["card_customers", "card_outcomes", "card_transactions"]


def test_one_column_is_the_same_person_in_every_dataset() -> None:
    one = sought(["card_customers.customer_id=C00001", "card_outcomes.customer_id=C00002"])
    assert one.values == {"customer_id": frozenset({"C00001", "C00002"})}
    assert one == sought(["customer_id=C00001", "customer_id=C00002"])


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ([], "nobody is named"),
        (["C00001"], "reads DATASET.COLUMN=VALUE"),
        (["card_customers.x=1"], "names no persons; those that do: card_customers.customer_id"),
        (["card_terminals.customer_id=C1"], "names no persons"),
    ],
)
def test_who_cannot_be_named_is_an_error_that_says_how(named: list[str], said: str) -> None:
    with pytest.raises(EvergreenError, match=said) as caught:
        sought(named)
    assert "C00001" not in str(caught.value)


@given(word=WORDS, before=st.sampled_from(["", " ", ",", '"', "/"]))
def test_a_value_is_found_and_struck_out_as_texts_json_pages_and_addresses_write_it(
    word: str, before: str
) -> None:
    theirs = Sought({"name": frozenset({word})})
    for form in (word, json.dumps(word)[1:-1], html.escape(word), quote(word)):
        text = f"{before}{form}."
        assert theirs.in_text(text)
        assert not theirs.in_text(theirs.told_without(text))


def test_longer_and_shorter_names_are_others() -> None:
    theirs = Sought({"customer_id": frozenset({"C00042"})})
    assert [theirs.in_text(each) for each in ("C000421", "XC00042", "C0004", "C00042")] == [
        False,
        False,
        False,
        True,
    ]


def test_a_number_is_theirs_only_where_its_column_is_named() -> None:
    theirs = Sought({"customer_id": frozenset({"42"})})
    assert not theirs.in_text("42 of 42 rows failed")
    assert theirs.in_text('{"customer_id": 42, "amount": 42}')
    assert json.loads(theirs.told_without('{"customer_id": 42, "amount": 42}')) == {
        "customer_id": ERASED,
        "amount": 42,
    }
    assert theirs.in_record("7,42,T1", ["amount", "customer_id", "terminal_id"])
    assert not theirs.in_record("42,7,T1", ["amount", "customer_id", "terminal_id"])


def test_a_value_is_recalled_from_json_and_from_lines() -> None:
    assert said_in('{"entities": {"customer_id": "C1"}}', "customer_id") == {"C1"}
    assert said_in("C1,5", "customer_id", ("customer_id", "amount")) == {"C1", "5"}
    assert said_in("C1,5", "customer_id") == set()
