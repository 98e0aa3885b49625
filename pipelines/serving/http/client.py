"""A typed client of the prediction API, for Python programs that have this package."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from pipelines.catalog import model
from pipelines.contracts import EvergreenError, TransientError, as_json
from pipelines.serving.door.tls import doubted, trusted
from pipelines.serving.explaining import EVALUATIONS
from pipelines.serving.schemas import ANSWERS, Answered, Explanation

AGAIN = {429, 503}
"""What the server says when it takes only patience, with Retry-After."""


class Client:
    """Asks one prediction API. `patience` is how many seconds it waits in all where the server asks it to.

    `key` is a key or a token, or says the one that is good now. `authorities` is a file in PEM with those that may have
    signed the server's certificate; without it they are the machine's.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        key: str | Callable[[], str] | None = None,
        patience: float = 10.0,
        wait: Callable[[float], None] = time.sleep,
        authorities: Path | str | None = None,
    ) -> None:
        self._url, self._patience, self._wait, self._key = url.rstrip("/"), patience, wait, key
        self._trusted = trusted(authorities)

    def predict(
        self, name: str, entities: Mapping[str, Any] | None = None, request: Mapping[str, Any] | None = None
    ) -> Answered:
        """A model's answer to one question: Answer, Classified or Value, by the model's task.

        Times are datetimes with a zone. EvergreenError names each field that is wrong; TransientError if nobody answers
        in time.
        """
        asked = {"entities": entities or {}, "request": request or {}}
        said = self._post(f"/v1/models/{name}/predictions", asked)
        return ANSWERS[model(name).task].model_validate(said)

    def explain(
        self, prediction_id: str, evaluations: int = EVALUATIONS, of: str | None = None
    ) -> Explanation:
        """What each input contributed to an answer, by its id; `of` names a class, by default the one predicted."""
        options = urlencode({"evaluations": evaluations} | ({"of": of} if of else {}))
        said = self._post(f"/v1/explanations?{options}", {"prediction_id": prediction_id})
        return Explanation.model_validate(said)

    def tell(self, prediction_id: str, truth: str | float, known_at: datetime | None = None) -> None:
        """What became of an answer, by its id."""
        told = {"prediction_id": prediction_id, "truth": truth} | ({"known_at": known_at} if known_at else {})
        self._post("/v1/feedback", told)

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        sent, left = json.dumps(as_json(dict(body))).encode(), self._patience
        while True:
            try:
                asked = Request(self._url + path, sent, self._headers())  # noqa: S310 - the caller's own address
                with urlopen(asked, timeout=30, context=self._trusted) as reply:  # noqa: S310
                    return json.load(reply)
            except HTTPError as error:
                pause = _pause(error)
                if pause is None or pause > left:
                    raise _told(error) from None
                left -= pause
                self._wait(pause)
            except (URLError, TimeoutError, ConnectionError) as error:
                raise doubted(self._url, error) or TransientError(
                    f"{self._url} does not answer: {error}"
                ) from error

    def _headers(self) -> dict[str, str]:
        key = self._key() if callable(self._key) else self._key
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})


def _pause(error: HTTPError) -> float | None:
    """How long the server wants to be left alone; None if it does not want to be asked this again."""
    said = error.headers.get("Retry-After", "") if error.code in AGAIN else ""
    return float(said) if said.isdigit() else None


def _told(error: HTTPError) -> EvergreenError:
    """The server's own words, field by field."""
    try:
        said = json.loads(error.read())
    except ValueError:
        said = {}
    fields = "; ".join(
        f"{each['field']}: {each['problem']}; {each['remedy']}" for each in said.get("fields", ())
    )
    text = f"{error.code}: {said.get('detail', error.reason)}" + (f" ({fields})" if fields else "")
    return TransientError(text) if error.code in AGAIN else EvergreenError(text)
