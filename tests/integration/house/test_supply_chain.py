"""Rules of the lists and the audit of the locks, with the locked tools and an advisory service on loopback."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipelines.prove.servers import free_port
from pipelines.settings import PROJECT
from supply_chain.locks import every, pins
from tests.locked import installed
from tests.once import once

pytestmark = pytest.mark.timeout(600)
LOCK = "click==8.1.0 \\\n    --hash=sha256:{0}\nwheel==0.38.1 ; sys_platform == 'win32' \\\n    --hash=sha256:{0}\n"
FAULT = {"id": "GHSA-0000-0000-0001", "aliases": ["CVE-2022-0000001"], "summary": "s", "details": "d"}
FAULT["affected"] = [{"package": {"name": "wheel", "ecosystem": "PyPI"}, "versions": ["0.38.1"],
                      "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.38.2"}]}]}]  # type: ignore[assignment]  # fmt: skip


class Advisories(BaseHTTPRequestHandler):
    """Speaks OSV's query API: one advisory against one package, or no sense at all."""

    mute: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        self.send_response(503 if asked in self.mute else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": [FAULT]} if asked == "wheel" else {}).encode())

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def service() -> Iterator[str]:
    Advisories.mute = set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Advisories)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python that the audit's own lock makes."""
    return once(tmp_path_factory, "audit", lambda to: installed(to, "audit.txt")) / "bin" / "python"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "some.txt"
    file.write_text(LOCK.format("0" * 64))
    return file


def audit(tools: Path, *words: Any) -> tuple[int, str]:
    told = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [tools, "-m", "supply_chain.audit", *words]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_pin_of_every_lock_is_looked_at() -> None:
    assert {"default.txt", "production.txt", "audit.txt"} <= {lock.name for lock in every()}
    for lock in every():
        found = pins([lock])
        assert len(found) == lock.read_text().count("==") - lock.read_text().count(" == "), lock


def test_where_nobody_answers_the_audit_fails_and_says_so(tools: Path, lock: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/"
    code, said = audit(tools, "--osv-url", nobody, lock)
    assert code == 2
    assert "NOT audited" in said
    assert "Traceback" not in said
    assert audit(tools, "--osv-url", nobody, "--where-reachable", lock)[0] == 0


def test_where_one_version_cannot_be_looked_up_nothing_passes(tools: Path, lock: Path, service: str) -> None:
    Advisories.mute = {"click"}
    code, said = audit(tools, "--osv-url", service, lock)
    assert code == 2
    assert "NOT audited" in said


def test_an_advisory_fails_until_it_is_accepted_and_again_after_its_day(
    tools: Path, lock: Path, service: str, tmp_path: Path
) -> None:
    code, said = audit(tools, "--osv-url", service, lock)  # a pin for another platform counts
    assert code == 1
    assert "wheel 0.38.1: CVE-2022-0000001 GHSA-0000-0000-0001; fixed in 0.38.2" in said
    assert "2 versions looked up, 1 advisories, 1 not accepted" in said
    file = tmp_path / "accepted.yaml"
    for until, expected in (("2999-01-01", 0), ("2020-01-01", 1)):
        entry = f"id: CVE-2022-0000001, package: wheel, reason: not reachable, until: {until}"
        file.write_text(f"accepted:\n- {{{entry}}}\n")
        code, said = audit(tools, "--osv-url", service, "--accepted", file, lock)
        assert code == expected
        assert ("accepted until 2020-01-01" in said) == bool(expected)
    file.write_text("accepted:\n- {id: CVE-2022-0000001, package: wheel, until: 2999-01-01}\n")
    code, said = audit(tools, "--osv-url", service, "--accepted", file, lock)
    assert (code, "give reason" in said) == (2, True)


def test_the_list_of_a_lock_is_cyclonedx_with_digests_and_licences(tools: Path, tmp_path: Path) -> None:
    words = [PROJECT / "locks" / "audit.txt", "--python", tools, "--out", tmp_path]
    told = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run([tools, "-m", "supply_chain.sbom", *words], env=told, check=True, capture_output=True)
    bom = json.loads((tmp_path / "audit.cdx.json").read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    wanted = pins([PROJECT / "locks" / "audit.txt"])
    assert len(wanted) > 20
    assert {(each["name"].lower(), each["version"]) for each in bom["components"]} == set(wanted)
    digests = [sum(len(r.get("hashes", ())) for r in c["externalReferences"]) for c in bom["components"]]
    assert all(digests)
    assert sum("licenses" in each for each in bom["components"]) > len(wanted) / 2
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(bom | {"bomFormat": "none"}))
    code = "import sys; from supply_chain.sbom import faults; sys.exit(faults(open(sys.argv[1]).read()))"
    judged = [subprocess.run([tools, "-c", code, file], env=told, capture_output=True).returncode
              for file in (tmp_path / "audit.cdx.json", broken)]  # fmt: skip
    assert judged == [0, 1]
