"""Rules of how the catalog looks, in a real Chromium: light and dark, wide and narrow, without any network."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.prove.promotion.world import World
from pipelines.site import static
from tests.champions import copied, crowned
from tests.dags import browser
from tests.unit.site.test_pages import NOW, report

pytestmark = pytest.mark.skipif(
    browser.program() is None, reason="there is no Chromium here; apt has chromium-headless-shell"
)

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
CONTRAST = """
(() => {
  const part = (v) => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const found = numbers(getComputedStyle(each).backgroundColor);
      if (found.length < 4 || found[3] > .99) return found;
    }
    return [255, 255, 255];
  };
  const says = (each) => [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  const poor = [];
  for (const each of document.querySelectorAll("main *:not(svg *)")) {
    if (!says(each) || !each.getClientRects().length) continue;
    const [a, b] = [light(numbers(getComputedStyle(each).color)), light(behind(each))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.push([each.tagName, each.className, each.textContent.slice(0, 30), ratio]);
  }
  return JSON.stringify(poor);
})()
"""
"""Texts that stand out from what is behind them by less than 4.5 to 1, as WCAG 2 reckons it."""


@pytest.fixture
def site(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    world: World = copied(crowned(tmp_path_factory), tmp_path / "home")
    report(world)
    static.write(world.stores, NOW, {world.spec.name: world.spec}, tmp_path / "site")
    return tmp_path / "site"


def looked(page: browser.Page, url: str, size: tuple[int, int], scheme: str) -> None:
    """The page as somebody with this window and taste has it."""
    width, height = size
    page.send(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=width < 600,
    )
    page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.send("Page.navigate", url=url)
    page.until(lambda text: "This page reads records" in text)


def test_each_page_fits_its_window_in_light_and_dark_and_can_be_read(site: Path, tmp_path: Path) -> None:
    papers: dict[str, set[str]] = {"light": set(), "dark": set()}
    with browser.opened("about:blank", tmp_path / "browser") as page:
        for file in ("index.html", "models/flight_delays.html"):
            for name, size in SIZES.items():
                for scheme, seen in papers.items():
                    looked(page, (site / file).as_uri(), size, scheme)
                    where = f"{file} on a {name}, {scheme}"
                    assert page.js("document.documentElement.scrollWidth <= innerWidth"), where
                    assert page.js("innerWidth") == size[0]
                    seen.add(page.js("getComputedStyle(document.body).backgroundColor"))
                    assert json.loads(page.js(CONTRAST)) == [], where
    assert {len(seen) for seen in papers.values()} == {1}
    assert papers["light"] != papers["dark"]


def test_a_page_asks_nobody_and_reports_no_error(site: Path, tmp_path: Path) -> None:
    with browser.opened("about:blank", tmp_path / "browser") as page:
        for file in ("index.html", "models/flight_delays.html"):
            heard = events(page, (site / file).as_uri())
            asked = [
                each["params"]["request"]["url"]
                for each in heard
                if each["method"] == "Network.requestWillBeSent"
            ]
            assert [url for url in asked if not url.startswith("data:")] == [(site / file).as_uri()]
            wrong = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
            assert [each for each in heard if each["method"] in wrong] == []


def events(page: browser.Page, url: str) -> list[dict[str, Any]]:
    """Everything the browser tells of while a page loads."""
    for domain in ("Page", "Network", "Runtime", "Log"):
        page.send(f"{domain}.enable")
    socket = page._socket
    socket.send(json.dumps({"id": 10**6, "method": "Page.navigate", "params": {"url": url}}))
    heard: list[dict[str, Any]] = []
    while not any(each.get("method") == "Page.loadEventFired" for each in heard):
        heard.append(json.loads(socket.recv(browser.PATIENCE)))
    return [each for each in heard if "method" in each]


def test_links_lead_from_the_page_over_all_to_a_model_and_back(site: Path, tmp_path: Path) -> None:
    with browser.opened((site / "index.html").as_uri(), tmp_path / "browser") as page:
        page.until(lambda text: "flight_delays" in text)
        page.click("td a")
        text = page.until(lambda text: "Lineage" in text)
        assert "rolled back to by" in text
        page.click("p.crumb a")
        page.until(lambda text: "Feature views" in text)
