"""What GitHub is told to do can be done, leaks nothing, and its templates ask for what there is."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.settings import PROJECT

GITHUB = PROJECT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
TEMPLATES = [GITHUB / "PULL_REQUEST_TEMPLATE.md", *sorted((GITHUB / "PULL_REQUEST_TEMPLATE").glob("*.md"))]
COMMANDS = sorted(
    {m for t in TEMPLATES + WORKFLOWS for m in re.findall(r"evergreen ([a-z-]+)", t.read_text())}
)
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def _workflow(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(), yaml.BaseLoader)  # noqa: S506 - `on` is no boolean here
    return found


def _steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in _workflow(path)["jobs"].values() for step in job["steps"]]


def test_there_is_something_to_check() -> None:
    assert WORKFLOWS
    assert len(TEMPLATES) == 4
    assert {"diff", "check", "try"} <= set(COMMANDS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_code_of_strangers_without_a_secret_and_writes_nothing(path: Path) -> None:
    said = _workflow(path)
    assert set(said) <= {"name", "on", "permissions", "concurrency", "jobs", "env", "defaults"}
    assert set(said["on"]) <= {"pull_request", "push", "schedule", "workflow_dispatch"}
    assert said["permissions"] == {"contents": "read"}
    assert "secrets." not in path.read_text()
    assert all(
        "permissions" not in job and int(job["timeout-minutes"]) <= 60 for job in said["jobs"].values()
    )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_pinned_by_its_commit_and_keeps_no_credentials(path: Path) -> None:
    used = [step for step in _steps(path) if "uses" in step]
    assert used
    for step in used:
        assert PINNED.fullmatch(step["uses"]), step["uses"]
    (checkout,) = (step for step in used if step["uses"].startswith("actions/checkout@"))
    assert checkout["with"]["persist-credentials"] == "false"
    assert set(checkout["with"]) <= {"fetch-depth", "persist-credentials"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_step_runs_what_there_is_and_no_text_of_an_event_becomes_a_command(path: Path) -> None:
    runs = [step["run"] for step in _steps(path) if "run" in step]
    assert len(runs) == sum("uses" not in step for step in _steps(path)) > 1
    assert not [run for run in runs if "${{" in run]
    targets = {m for run in runs for m in re.findall(r"make ([a-z-]+)", run)}
    assert {"model-review": {"install", "check"}, "locks": {"audit", "sbom"}}[path.stem] <= targets
    assert all(
        re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), re.MULTILINE) for target in targets
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_templates_and_workflows_exists(command: str) -> None:
    answer = CliRunner().invoke(app, [command, "--help"])
    assert answer.exit_code == 0, answer.output


def test_every_template_that_is_named_exists() -> None:
    named = set(re.findall(r"\?template=([\w.]+)", TEMPLATES[0].read_text()))
    assert named == {path.name for path in TEMPLATES[1:]}


@pytest.mark.parametrize("status", [0, 1])
def test_the_page_reaches_the_summary_whether_a_model_breaks_or_not(status: int, tmp_path: Path) -> None:
    """The workflow's own script, with a command in place of ours that says something and ends so."""
    (script,) = (s["run"] for p in WORKFLOWS for s in _steps(p) if "GITHUB_STEP_SUMMARY" in s.get("run", ""))
    stub = tmp_path / ".venv" / "bin" / "evergreen"
    stub.parent.mkdir(parents=True)
    stub.write_text(f'#!/bin/sh\necho "## $*"\nexit {status}\n')
    stub.chmod(0o700)
    summary = tmp_path / "summary.md"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], cwd=tmp_path, check=False,
        env={"PATH": os.environ["PATH"], "BASE": "a b", "GITHUB_STEP_SUMMARY": str(summary)},
    )  # fmt: skip
    assert done.returncode == status
    assert summary.read_text() == "## diff a b --merge-base\n"
