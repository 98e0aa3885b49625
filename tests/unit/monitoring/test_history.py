"""The page of a model's past reports: newest first, nothing of a report is taken for HTML, the oldest leave."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.monitoring.pages import history

START = datetime(2013, 4, 1, tzinfo=UTC)


def reports(folder: Path, many: int, **said: object) -> list[str]:
    """So many daily reports; their names."""
    names = [f"{START + timedelta(days=i):%Y%m%dT%H%M%SZ}" for i in range(many)]
    for i, name in enumerate(names):
        look = {
            "version": 1,
            "drifted": False,
            "drift_share": i / many,
            "moved": ["distance"],
            "decayed": False,
        }
        (folder / f"{name}.json").write_text(json.dumps({"vanished": {}, "look": look | said}))
        (folder / f"{name}.html").write_text("a report")
    return names


def links(page: Path) -> list[str]:
    return re.findall(r'href="([^"]+)\.html"', page.read_text())


def test_each_report_has_a_row_with_its_link_newest_first(tmp_path: Path) -> None:
    names = reports(tmp_path, 5)
    page = history.written(tmp_path, "flight_delays", 0.5)
    assert links(page) == names[::-1]
    assert all((tmp_path / f"{name}.html").exists() for name in links(page))
    assert page.read_text().count("<circle") == 5


def test_reports_beyond_those_kept_leave_together_with_their_row(tmp_path: Path) -> None:
    names = reports(tmp_path, 5)
    for other in ("latest.json", "version_1.json", "reference_1.parquet"):
        (tmp_path / other).write_text("{}")
    assert links(history.written(tmp_path, "flight_delays", 0.5, kept=3)) == names[:1:-1]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"index.html", "latest.json", "version_1.json", "reference_1.parquet"} | {
        f"{name}.{kind}" for name in names[2:] for kind in ("html", "json")
    }


HOSTILE = "<script>alert(1)</script>"


def test_names_that_are_code_are_shown_as_text(tmp_path: Path) -> None:
    reports(tmp_path, 2, moved=[HOSTILE, '" onload="x'], version=HOSTILE)
    page = history.written(tmp_path, HOSTILE, 0.5).read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 6
    assert '" onload="x' not in page


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"look": 3}', '{"look": {"drift_share": "much", "moved": 3}}']
)
def test_a_report_that_is_old_or_broken_stops_no_other(tmp_path: Path, text: str) -> None:
    names = reports(tmp_path, 3)
    (tmp_path / f"{names[1]}.json").write_text(text)
    assert set(links(history.written(tmp_path, "flight_delays", 0.5))) >= {names[0], names[2]}


def test_a_page_that_cannot_be_written_is_said_and_raises_nothing(tmp_path: Path) -> None:
    reports(tmp_path, 1)
    (tmp_path / "index.html").mkdir()
    assert history.written(tmp_path, "flight_delays", 0.5) is None
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_the_page_asks_nothing_of_the_network_and_knows_the_dark(tmp_path: Path) -> None:
    reports(tmp_path, 3)
    page = history.written(tmp_path, "flight_delays", 0.5).read_text()
    assert not re.search(r"https?://|<script|src=", page)
    assert "prefers-color-scheme: dark" in page
