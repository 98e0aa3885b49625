"""A deployment with a champion that passed its gate, on which hostile models are tried."""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import Comparison, ModelSpec, model
from pipelines.contracts import Candidate, Decision, EvergreenError, Say, TrainingSet
from pipelines.gate import evaluate
from pipelines.promotion.promote import promote
from pipelines.prove.worlds import sandbox
from pipelines.stores import Stores
from pipelines.stores.audit.keys import Keys
from pipelines.stores.audit.licences import LICENCE, ORIGIN, Licence, licensed, origin
from pipelines.stores.tracking.registry import MODEL_FILE, Version, file_digest
from pipelines.training.answers import NOT_INPUT
from pipelines.training.train import estimator, train
from pipelines.training.training_set import path_of

if TYPE_CHECKING:
    import pandas as pd

NOW, AS_OF = datetime(2026, 1, 5, 12, tzinfo=UTC), datetime(2013, 3, 31, tzinfo=UTC)
ROWS = 3000


@dataclass(frozen=True)
class Bench:
    """A deployment with a champion, an honest version beside it, and what somebody else's model looks like."""

    spec: ModelSpec
    stores: Stores
    folder: Path
    rows: TrainingSet
    held: "pd.DataFrame"
    champion: Version
    ungated: Version
    foreign: bytes
    """A well-formed model file, of the right types, that answers what no honest model does."""

    def register(self, data: bytes, keys: Keys | None, **changed: str) -> Version:
        """A version with this model file, its tags made to fit, signed and licensed with these keys."""
        client, run = self.stores.tracking.client, self._run(data)
        tags = {**self.plain(self.ungated), "digest": hashlib.sha256(data).hexdigest(), **changed}
        made = client.create_model_version(self.spec.name, f"runs:/{run}/model", run, tags=tags)
        version = Version(
            self.spec.name,
            int(made.version),
            run,
            tags["digest"],
            self.champion.as_of,
            made.source,
            tags,
        )
        if keys is not None:
            self.tag(version, {**origin(version, keys), **self.licence(version, keys)})
        return version

    def _run(self, data: bytes) -> str:
        client = self.stores.tracking.client
        run = str(client.create_run(self.stores.tracking.experiment(self.spec.name)).info.run_id)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / MODEL_FILE).write_bytes(data)
            self.stores.tracking.log_files(run, "model", Path(folder) / MODEL_FILE)
        return run

    def licence(self, version: Version, keys: Keys, digest: str | None = None) -> dict[str, str]:
        """The tags of a licence for a version, whoever's the keys are."""
        right = Licence(
            version.model, version.version, digest or version.digest, "PASS", "", "x", self.champion.as_of
        )
        return licensed(right, keys)

    def plain(self, version: Version) -> dict[str, str]:
        """A version's tags without what is signed."""
        signed = {ORIGIN, LICENCE}
        return {name: value for name, value in version.tags.items() if name not in signed}

    def tag(self, version: Version, tags: Mapping[str, str]) -> None:
        self.stores.tracking.tag(version.model, version.version, tags)

    def others(self) -> Keys:
        """Another deployment's keys."""
        return Keys(self.folder / "others-keys")

    def artifact(self, owner: str, name: str = MODEL_FILE) -> Path:
        """Where the artifact store keeps a file of a logged model or a run."""
        found = list(self.stores.settings.home.glob(f"mlartifacts/**/{owner}/**/{name}"))
        if len(found) != 1:
            raise EvergreenError(
                f"{len(found)} files {name} of {owner} in the artifact store, one is expected"
            )
        return found[0]

    def local(self, version: Version) -> Path:
        """Where the copy on local disk is kept."""
        return self.stores.settings.home / "models" / version.model / str(version.version) / MODEL_FILE

    def candidate(self, version: int) -> Candidate:
        """A version as the gate is handed it, whatever its tags say."""
        return Candidate(self.spec.name, version, "", "", self.champion.as_of, self.rows.digest)


def opened(name: str, folder: Path, say: Say) -> Bench:
    """A deployment with a champion that passed its gate, and an honest version that was not judged."""
    stores, spec = sandbox(folder / "home"), eased(model(name))
    data = _made_up(spec, stores)
    rows = [_written(spec, data.assign(distinct=number), stores, str(number)) for number in (1, 2)]
    say("an honest model is trained, judged and promoted")
    made = [train(spec, each, stores) for each in rows]
    verdict = evaluate(spec, made[0], rows[0], stores, NOW)
    promoted = promote(spec, made[0].version, stores, NOW)
    if not promoted.promoted:
        why = [f"{r.name}: {r.explanation}" for r in verdict.rules if r.decision is not Decision.PASS]
        raise EvergreenError(f"the honest model was not promoted ({promoted.reason}): {'; '.join(why)}")
    champion, ungated = (stores.tracking.version(spec.name, each.version) for each in made)
    held = data[data["split"] == "holdout"].reset_index(drop=True)
    return Bench(spec, stores, folder, rows[0], held, champion, ungated, _foreign(spec, data))


def eased(spec: ModelSpec) -> ModelSpec:
    """The model's spec with a gate that made-up rows can pass; what is proved here is not the gate's strictness."""
    gate = {"floors": {"roc_auc": 0.5}, "ceilings": {}, "minimum_rows": 100, "guards": (), "fairness": (),
            "calibration": None, "rebuild": False, "baseline": Comparison(rule="not_worse", margin=1.0), "anchor": None,
            "champion": Comparison(rule="not_worse", margin=1.0),
            "slices": spec.gate.slices.model_copy(update={"columns": (), "margin": 1.0, "search": False}),
            "behaviour": type(spec.gate.behaviour)()}  # fmt: skip
    limits = spec.gate.serving.model_copy(update={"questions": 20, "p99_ms": 10_000.0})
    small = {"max_iter": 10, "min_samples_leaf": 20}
    return spec.model_copy(
        update={
            "gate": spec.gate.model_copy(update={**gate, "serving": limits}),
            "parameters": {**spec.parameters, **{k: v for k, v in small.items() if k in spec.parameters}},
            "training": spec.training.model_copy(update={"minimum_rows": 100}),
        }
    )


def _made_up(spec: ModelSpec, stores: Stores) -> "pd.DataFrame":
    """Rows of the model's columns; the label follows its first feature."""
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng(0)
    asked = pd.Timestamp(AS_OF) - pd.to_timedelta(draw.integers(1, 28 * 24 * 60, ROWS), unit="min")
    features = {name: draw.normal(size=ROWS) for name in stores.features.feature_names(spec)}
    first = next(iter(features.values()))
    fields = {**spec.entities, **spec.request}
    made = {name: _drawn(field.type, field.example, asked, draw) for name, field in fields.items()}
    return pd.DataFrame(
        {
            **made,
            "event_timestamp": asked,
            "label_known_at": asked + pd.Timedelta(hours=5),
            "label": (draw.random(ROWS) < 1 / (1 + np.exp(-2 * first))).astype(int),
            "split": np.where(asked >= pd.Timestamp(AS_OF - timedelta(days=7)), "holdout", "train"),
            **features,
        }
    )


def _drawn(kind: str, example: Any, asked: Any, draw: Any) -> Any:
    if kind == "string":
        return draw.choice([str(example), "other", "third"], len(asked))
    if kind == "timestamp":
        import pandas as pd

        return asked + pd.to_timedelta(draw.integers(60, 600, len(asked)), unit="min")
    drawn = draw.integers(1, 2 * int(example) + 2, len(asked))
    return drawn if kind == "integer" else drawn.astype("float64")


def _written(spec: ModelSpec, data: "pd.DataFrame", stores: Stores, digest: str) -> TrainingSet:
    path = path_of(spec.name, digest * 64, stores)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.drop(columns="distinct").to_parquet(path, index=False)
    learned = data[data["split"] == "train"]
    return TrainingSet(
        spec.name, AS_OF, digest * 64, str(path), len(learned), int(learned["label"].sum()),
        AS_OF - timedelta(days=7), len(data) - len(learned), {}, file_digest(path),
    )  # fmt: skip


def _foreign(spec: ModelSpec, data: "pd.DataFrame") -> bytes:
    """A model of the right types that says the opposite."""
    from skops.io import dumps

    learned = data[data["split"] == "train"]
    opposite: bytes = dumps(estimator(spec).fit(learned.drop(columns=list(NOT_INPUT)), 1 - learned["label"]))
    return opposite
