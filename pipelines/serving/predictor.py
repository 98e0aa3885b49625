"""One model as it is served: follows its champion, asks for features, answers."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from pipelines.catalog import ModelSpec, event_time
from pipelines.contracts import EvergreenError, TransientError
from pipelines.serving.bounds import Bounds
from pipelines.serving.causes import Cause, passed
from pipelines.serving.metrics import Metrics
from pipelines.serving.outages.fetching import Underway
from pipelines.serving.retries import Retries
from pipelines.serving.schemas import example, request_model
from pipelines.serving.served import UNREAD, Body, Found, Question, Said, Served, judged, kind, rows
from pipelines.serving.shortcuts import shortened
from pipelines.serving.sources import ChampionLike, Champions, FeatureSource, ModelSource
from pipelines.serving.workers.seat import Seat, same
from pipelines.serving.workers.turns import Alone, Turns
from pipelines.settings import PROJECT
from pipelines.stores.audit.licences import Licence

log = logging.getLogger("evergreen.serving")


class NoChampion(EvergreenError):
    """No version is loaded yet."""


class Loading(NoChampion):
    """None is loaded yet, and one is on its way."""


class CannotAnswer(EvergreenError):
    """The model failed on a well-formed question."""


class _Refused(Exception):
    """A champion was not loaded, for one of our causes."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


@contextmanager
def _or(cause: Cause) -> Iterator[None]:
    """Whatever goes wrong inside has this cause, unless it is known that something did not answer."""
    try:
        yield
    except Underway as error:
        raise _Refused(Cause.UNDERWAY) from error
    except TransientError as error:
        raise _Refused(Cause.UNFETCHED) from error
    except Exception as error:
        raise _Refused(cause) from error


class Predictor:
    """Answers for one model with whatever it has: the last good champion, the features it can read.

    `last_error` is for anybody: one of our causes. `detail` is the exception's own text, for whoever runs the probe.
    """

    def __init__(
        self,
        spec: ModelSpec,
        models: ModelSource,
        features: FeatureSource,
        metrics: Metrics,
        bounds: Bounds | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.spec, self.request_model = spec, request_model(spec)
        self.bounds = bounds or Bounds(spec, PROJECT / "expectations")
        self._models, self._features, self._metrics = models, features, metrics
        self.loading: tuple[int, datetime] | None = None
        self._looked = False
        self._seat = Seat(spec.name, turns or Alone(), self._answers)
        self.last_error: str | None = None
        self.detail: str | None = None
        self._event_time = event_time(spec)
        self.retries = Retries()
        self._lost: str | None = None
        metrics.watch(spec.name)

    def event_time(self, request: Mapping[str, Any]) -> datetime | None:
        """When the event asked about happens; None if the request does not say."""
        value = request.get(self._event_time)
        return value if isinstance(value, datetime) else None

    def champion(self) -> Served:
        """The version that answers now; NoChampion names the remedy, Loading that it takes only patience."""
        served = self._seat.now()
        if served is None:
            raise self._silent()
        return served

    @property
    def served(self) -> Served | None:
        """The version that answers, as it was known last; None before the first."""
        return self._seat.served

    @property
    def loaded(self) -> list[Served]:
        """The version that answers and the one before it, which is kept warm."""
        return [each for each in (self._seat.served, self._seat.before) if each]

    def _silent(self) -> NoChampion:
        name, loading = self.spec.name, self.loading
        if loading is not None:
            since = loading[1].isoformat(timespec="seconds")
            return Loading(f"{name} is loading its champion, version {loading[0]}, since {since}; ask again")
        if not self._looked:
            return Loading(f"serving has just started and looks for the champion of {name}; ask again")
        return NoChampion(
            f"{name} has no champion loaded yet"
            + (f" ({self.last_error})" if self.last_error else "")
            + f"; train and promote one (`evergreen train {name}`, or its DAG) and ask again"
        )

    def features(self, served: Served, asked: Sequence[Body]) -> list[Found]:
        """Each question's features; all missing, and degraded, when the store cannot be read."""
        read = self._read(served, asked)
        self._tell_of_lost([each.reason for each in read if each.broken and each.known is not None])
        for each in read:
            if each.broken:
                self._metrics.feature_errors.labels(self.spec.name).inc()
            for name in each.missing:
                self._metrics.missing.labels(self.spec.name, name).inc()
        return read

    def _tell_of_lost(self, reasons: Sequence[str | None]) -> None:
        """Log once that views are no longer online, not at every question."""
        lost = next(iter(reasons), None)
        if lost and lost != self._lost:
            log.error("%s: %s", self.spec.name, lost)
        self._lost = lost

    def _read(self, served: Served, asked: Sequence[Body]) -> list[Found]:
        events = [self.event_time(body["request"]) for body in asked]
        # As in training: values that would have been stale when the prediction is due count as missing.
        moments = [None if event is None else event - self.spec.label.horizon for event in events]
        questions = [(body["entities"], moment) for body, moment in zip(asked, moments, strict=True)]
        try:
            read = self._features.online_rows(served.features, questions, served.views)
        except Exception as error:
            if len(asked) > 1:  # each alone, so that none lacks its features for another
                return [each for body in asked for each in self._read(served, [body])]
            log.warning("%s: features cannot be read: %s", self.spec.name, passed(error))
            blank = dict.fromkeys(served.features)
            return [Found(blank, list(served.features), degraded=True, reason=UNREAD) for _ in asked]
        return [
            judged(self.spec, served.features, online, event)
            for online, event in zip(read, events, strict=True)
        ]

    def ask(self, served: Served, asked: BaseModel) -> Said:
        """The answer to one question, with the features there are; CannotAnswer if the model fails on it."""
        body = asked.model_dump()
        (found,) = self.features(served, [body])
        return self.answer(served, body, found)

    def answer(self, served: Served, asked: Body, found: Found) -> Said:
        """The served version's answer; CannotAnswer if it fails on this question."""
        (said,) = self.answers(served, [(asked, found)])
        if isinstance(said, CannotAnswer):
            raise said
        return said

    def answers(self, served: Served, questions: Sequence[Question]) -> list[Said | CannotAnswer]:
        """Each question's answer, or why there is none; those whose values are of the same types at once."""
        kinds: dict[tuple[type, ...], list[int]] = {}
        for place, question in enumerate(questions):
            kinds.setdefault(kind(question), []).append(place)
        said = {
            place: answer
            for places in kinds.values()
            for place, answer in zip(
                places, self._together(served, [questions[p] for p in places]), strict=True
            )
        }
        return [said[place] for place in range(len(questions))]

    def _together(self, served: Served, questions: Sequence[Question]) -> list[Said | CannotAnswer]:
        """Answers of one frame; where that fails each question is asked alone, so that none fails for another."""
        try:
            return [*served.answers(rows(self.spec, questions, served.pipeline))]
        except Exception as error:
            if len(questions) > 1:
                return [self._together(served, [each])[0] for each in questions]
            log.error("%s version %s cannot answer: %s", self.spec.name, served.version, passed(error))
            refused = CannotAnswer(
                f"{self.spec.name} version {served.version} failed on this question ({type(error).__name__});"
                " the server's log says where"
            )
            refused.__cause__ = error
            return [refused]

    def follow(self, champions: Champions | None = None) -> None:
        """Look once for a new champion and swap to it; whatever fails, the old one stays."""
        self._look(champions or self._models.champion)
        self._looked = True

    def _look(self, champions: Champions) -> None:
        try:
            champion = champions(self.spec.name)
        except Exception as error:
            foreign = isinstance(error, EvergreenError) and not isinstance(error, TransientError)
            self._tell(self._metrics.poll_errors, Cause.FOREIGN if foreign else Cause.SILENT, error)
            return
        if champion is None or (self.loading and self.loading[0] != champion.version):
            self.loading = None
        if champion is None:
            self._without()
        elif self.served is not None and same(self.served, champion):
            self._seat.stay()
            self._look_again(self.served, champion)
        elif self._seat.waits is not None and same(self._seat.waits, champion):
            self._seat.turn()
        elif not self.retries.wait((champion.version, champion.digest)):
            self.loading = self.loading or (champion.version, datetime.now(UTC))
            if not self._swap(champion):
                self.loading = None

    def _without(self) -> None:
        """No version is champion in the registry: nothing was promoted yet, or somebody deleted what answers."""
        if self.served is None:
            self.last_error = self.detail = None
        else:
            self._tell(self._metrics.poll_errors, f"version {self.served.version}: {Cause.GONE}")

    def _look_again(self, served: Served, champion: ChampionLike) -> None:
        """The version that answers goes on answering; if it lost its licence, or has another, the status says so."""
        try:
            licence = self._models.licence(champion)
        except Exception as error:
            said = f"version {champion.version} answers, but {Cause.UNLICENSED}"
            self._tell(self._metrics.load_errors, said, error)
            return
        self.last_error = self.detail = None
        if licence != served.licence:
            self._seat.served = replace(served, licence=licence)

    def _swap(self, champion: ChampionLike) -> bool:
        """Serve the champion if it is licensed and answers, once it is its turn; True while its file is fetched."""
        try:
            with _or(Cause.UNLICENSED):
                licence = self._models.licence(champion)
            served = self._seat.kept(champion, licence) or self.warmed(champion, licence)
        except _Refused as refused:
            said = f"version {champion.version} is not loaded: {refused.cause}"
            self._tell(self._metrics.load_errors, said, refused.__cause__)
            self.retries.failed((champion.version, champion.digest))
            return refused.cause is Cause.UNDERWAY
        self.retries.went()
        self._seat.offer(served)
        return False

    def _answers(self, served: Served) -> None:
        """Another version answers from now on."""
        self.last_error = self.detail = None
        self._metrics.champion.labels(self.spec.name).set(served.version)
        log.info("%s: version %s answers", self.spec.name, served.version)

    def warmed(self, champion: ChampionLike, licence: Licence) -> Served:
        """A version, loaded, after it has answered the spec's example."""
        with _or(Cause.REFUSED):
            pipeline = self._models.fitted(champion)
        with _or(Cause.MUTE):
            return self._answering(champion, licence, pipeline)

    def _answering(self, champion: ChampionLike, licence: Licence, pipeline: Any) -> Served:
        """A pipeline as it is served; raises if it does not answer the spec's example."""
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

        served = Served(
            version=champion.version,
            digest=champion.digest,
            as_of=champion.as_of,
            licence=licence,
            pipeline=pipeline,
            features=tuple(self._feature_names(pipeline)),
            classes=self.spec.label.classes,
            views=champion.views,
            controller=ThreadpoolController(),
        )
        asked = self.request_model.model_validate(example(self.spec)).model_dump()
        (found,) = self._read(served, [asked])
        row = rows(self.spec, [(asked, found)], pipeline)
        served.answers(row)
        return replace(served, shortly=shortened(pipeline, row))

    def _feature_names(self, pipeline: Any) -> list[str]:
        """What the model was fitted on, beside the request; the feature store's names if it does not say."""
        columns = getattr(pipeline, "feature_names_in_", None)
        if columns is None:
            return self._features.feature_names(self.spec)
        return self.spec.features_among(columns)

    def _tell(self, counter: Any, said: str, error: BaseException | None = None) -> None:
        """Count every failure, log each kind once."""
        counter.labels(self.spec.name).inc()
        if said != self.last_error:
            log.warning("%s: %s (%s)", self.spec.name, said, passed(error) if error else "no exception")
        self.last_error = str(said)
        self.detail = f"{type(error).__name__}: {error}" if error else None
