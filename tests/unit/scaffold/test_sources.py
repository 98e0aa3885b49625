"""Rules of reading what a person brings: any name, any header, text or Parquet, one file or many."""

from pathlib import Path

import pandas as pd
import pytest

from pipelines.contracts import EvergreenError
from tests.own_tables import orders, read


def _kinds(path: Path) -> dict[str, str]:
    with read(path) as (_, found):
        return {facts.header: facts.kind for facts in found}


def test_text_becomes_numbers_times_and_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "n,x,day,us,zip,word\n1,1.5,2025-01-31,01/31/2025,00123,yes\n2,NA,2025-02-01,02/28/2025,04567,no\n"
    )
    assert _kinds(path) == {
        "n": "integer", "x": "float", "day": "timestamp", "us": "timestamp", "zip": "string", "word": "string",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["it's [odd]* $x.csv", "'; drop table given; --.csv", "ü {1}.csv"])
def test_a_file_of_any_name_is_read(tmp_path: Path, name: str) -> None:
    orders(50).to_csv(tmp_path / name, index=False)
    assert len(_kinds(tmp_path / name)) == 6


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_a_table_may_be_separated_otherwise(tmp_path: Path, sign: str) -> None:
    orders(50).to_csv(tmp_path / "a.csv", index=False, sep=sign)
    assert len(_kinds(tmp_path / "a.csv")) == 6


def test_a_folder_is_one_table(tmp_path: Path) -> None:
    orders(50)[:20].to_parquet(tmp_path / "a.parquet")
    orders(50)[20:].to_parquet(tmp_path / "b.parquet")
    with read(tmp_path) as (source, found):
        assert source.files == 2
        assert found[0].rows == 50


def test_files_with_other_columns_are_refused_by_name(tmp_path: Path) -> None:
    orders(20).to_csv(tmp_path / "a.csv", index=False)
    orders(20).drop(columns="channel").to_csv(tmp_path / "b.csv", index=False)
    with (
        pytest.raises(EvergreenError, match=r"'b.csv' has other columns than 'a.csv' \('channel'\)"),
        read(tmp_path),
    ):
        pass


def test_latin_text_is_read_and_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("a,b\nGröße,1\nklein,2\n".encode("latin-1"))
    with read(tmp_path / "a.csv") as (source, found):
        assert "Latin-1" in source.notes[0]
        assert "Größe" in found[0].examples


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "1.5,2,3\n4,5,6\n", "looks like data"),
        ("a.csv", "a,b\n", "has no rows"),
        ("a.csv", "a\n1\n", "has 1 columns"),
        ("a.xlsx", "PK", "neither .csv"),
        ("a.parquet", "no parquet", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_refused_in_words(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(EvergreenError, match=said), read(tmp_path / name):
        pass


def test_nested_values_are_refused_by_column(tmp_path: Path) -> None:
    pd.DataFrame({"a": [[1], [2]], "b": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(EvergreenError, match="column 'a' holds"), read(tmp_path / "a.parquet"):
        pass
