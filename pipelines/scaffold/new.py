"""A whole model written into a project: every file or none."""

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.catalog import DatasetSpec, ModelSpec, read_spec
from pipelines.contracts import EvergreenError
from pipelines.scaffold import pilot
from pipelines.scaffold.data.sources import Source
from pipelines.scaffold.design import Design
from pipelines.scaffold.files import landing
from pipelines.scaffold.files.rendering import rendered
from pipelines.settings import PROJECT

OWNER = "unassigned"


@dataclass(frozen=True)
class Written:
    """What was written: the model's files within the project, with their lines, and the file that landed."""

    files: dict[str, int]
    landed: Path


def patterns(project: Path) -> dict[str, str]:
    """The patterns of the datasets that a project has, by name."""
    specs = [
        read_spec(path, DatasetSpec) for path in sorted((project / "pipelines" / "datasets").glob("*.yaml"))
    ]
    return {spec.name: spec.pattern for spec in specs}


def free(name: str, project: Path) -> None:
    """EvergreenError if the project has anything of this name."""
    there = [path for path in _places(name, project) if path.exists()]
    if there:
        raise EvergreenError(
            f"{name} is there already ({there[0].relative_to(project)}); choose another name, or remove its files first"
        )


def _places(name: str, project: Path) -> Iterator[Path]:
    yield project / "pipelines" / "datasets" / f"{name}.yaml"
    yield project / "pipelines" / "models" / name
    yield project / "expectations" / f"{name}.json"
    yield from sorted((project / "feature_repo").glob(f"{name}_*"))
    yield project / "feature_repo" / f"{name}.py"
    yield project / "tests" / "models" / name


def write(design: Design, source: Source, project: Path, folder: Path, owner: str = OWNER) -> Written:
    """Writes a design into a project and its rows into the landing folder; whatever fails, nothing is left of it."""
    free(design.name, project)
    texts = rendered(design, source, owner)
    with tempfile.TemporaryDirectory(dir=project, prefix=".new_") as inside:
        made = Path(inside)
        for name, text in texts.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(text, encoding="utf-8")
        _formatted(made)
        sample = f"tests/models/{design.name}/sample.parquet"
        landing.sample(design, source, made / sample)
        _sound(design, made, source)
        landed = landing.write(design, source, folder)
        try:
            _moved([*texts, sample], made, project, design.name)
        except BaseException:
            landed.unlink(missing_ok=True)
            raise
    return Written({name: len(text.splitlines()) for name, text in texts.items()}, landed)


def _formatted(made: Path) -> None:
    """Code as the project's own formatter leaves it, where that is installed."""
    with suppress(OSError):
        settings = ["--config", str(PROJECT / "pyproject.toml"), "--no-cache"]
        subprocess.run(
            [sys.executable, "-m", "ruff", "format", "-q", *settings, str(made)],
            check=False,
            capture_output=True,
        )


def _sound(design: Design, made: Path, source: Source) -> None:
    """What was written is read as it will be, and its SQL is asked; a fault here is ours."""
    name = design.name
    spec = read_spec(made / "pipelines" / "models" / name / "spec.yaml", ModelSpec)
    read_spec(made / "pipelines" / "datasets" / f"{name}.yaml", DatasetSpec)
    for path in made.rglob("*.py"):
        ast.parse(path.read_text())
    for path in made.rglob("*.json"):
        json.loads(path.read_text())
    pilot.show(design, source)
    label = (made / "pipelines" / "models" / name / "label.sql").read_text()
    source.connection.execute(
        label, {"horizon": spec.label.horizon} if "$horizon" in label else {}
    ).fetchone()
    for path in made.rglob("feature_repo/*.sql"):
        source.connection.execute(path.read_text(), {"start": design.span[0].replace(tzinfo=None)}).fetchone()


def _moved(names: list[str], made: Path, project: Path, model: str) -> None:
    """Each file to its place, the model's own folder last: the catalog finds a model only when it is whole."""
    own = f"pipelines/models/{model}"
    done: list[Path] = []
    try:
        for name in [name for name in names if not name.startswith(own)]:
            done.append(_move(made / name, project / name))
        done.append(_move(made / own, project / own))
    except BaseException:
        for path in done:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _move(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    package = target.parent.parent / "__init__.py"
    if target.parent.parent.name == "models" and not package.exists():
        package.write_text("")
    os.replace(source, target)
    return target
