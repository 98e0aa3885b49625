"""The public keys of whoever issues tokens: read in the background, kept while they cannot be."""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from pipelines.contracts import EvergreenError
from pipelines.places import LOOPBACK, is_web_address
from pipelines.serving.causes import passed

log = logging.getLogger("evergreen.serving")
ALGORITHMS = {
    ("RSA", None): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
"""What a key of each kind may sign with. None of it works by a secret that both sides know, and `none` is not in it."""
ALLOWED = frozenset[str]().union(*ALGORITHMS.values())
LEAST_BITS, MOST_BYTES, MOST_KEYS = 2048, 1 << 20, 100
EVERY_SECONDS, PAUSE_SECONDS, PATIENCE_SECONDS = 300.0, 5.0, 10.0
WELL_KNOWN = "/.well-known/openid-configuration"


class Unfit(ValueError):
    """What the issuer says cannot be used; the words are ours."""


@dataclass(frozen=True)
class Known:
    """A public key, the id by which tokens name it, and what it may have signed with."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any


class Issuer(threading.Thread):
    """The keys, read anew every `seconds` and at most every `pause`; while they cannot be, those known before hold on.

    `known` is None before they were read once.
    """

    def __init__(
        self, read: Callable[[], Any], seconds: float = EVERY_SECONDS, pause: float = PAUSE_SECONDS
    ) -> None:
        super().__init__(name="issuer", daemon=True)
        self._read, self._seconds, self._pause = read, seconds, pause
        self.known: tuple[Known, ...] | None = None
        self._looked = 0.0
        self._wanted, self._ended = threading.Event(), threading.Event()

    @classmethod
    def of(cls, issuer: str, place: str | None, poll: float) -> Self:
        """The keys of an issuer, in a file, at an address, or, where no place is named, where the issuer says.

        A file is at hand, and looked into every `poll` seconds.
        """
        read = source(issuer, place)
        return cls(read) if place is None or is_web_address(place) else cls(read, poll, poll)

    def run(self) -> None:
        while not self._ended.is_set():
            self._wanted.clear()
            good = self.look()
            self._ended.wait(self._pause)
            if good:
                self._wanted.wait(max(0.0, self._seconds - self._pause))

    def stop(self) -> None:
        self._ended.set()
        self._wanted.set()
        self.join(timeout=5)

    def look(self) -> bool:
        """Read the keys once; whether that went well."""
        try:
            self.known = usable(self._read())
            return True
        except Exception as error:
            why = str(error) if isinstance(error, Unfit) else passed(error)
            log.warning("the issuer's keys cannot be read, those known before hold on: %s", why)
            return False
        finally:
            self._looked = time.monotonic()

    def fitting(self, kid: object, algorithm: object) -> Known | None:
        """The key that a token names; where it names none, the only one there is."""
        named = [each for each in self.known or () if kid is None or each.kid == kid]
        if kid is None and len(named) > 1:
            return None
        return next((each for each in named if algorithm in each.algorithms), None)

    def anew(self) -> bool:
        """Ask for the keys to be read anew; False where that was done just now."""
        if time.monotonic() - self._looked < self._pause:
            return False
        self._wanted.set()
        return True


def usable(document: Any) -> tuple[Known, ...]:
    """The keys of a JSON Web Key Set that verify signatures here, no others; Unfit if it is no such set."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise Unfit('it is no JSON Web Key Set: an object with a list of "keys"')
    known = tuple(filter(None, map(_known, keys[:MOST_KEYS])))
    if not known:
        log.warning("the issuer has no key that can be used, so no token is let in")
    return known


def _known(said: Any) -> Known | None:
    """A key that is secret, short or for something else than signatures is nobody's."""
    try:
        algorithms = _algorithms(said)
        key = PyJWK(said, min(algorithms)).key if algorithms else None
    except (PyJWTError, ValueError, TypeError, AttributeError):
        return None
    if key is None or (said["kty"] == "RSA" and key.key_size < LEAST_BITS):
        return None
    return Known(said.get("kid"), algorithms, key)


def _algorithms(said: Any) -> frozenset[str]:
    """What a key of a set may have signed with; nothing if it is not for verifying signatures."""
    if "d" in said or said.get("use", "sig") != "sig" or "verify" not in said.get("key_ops", ["verify"]):
        return frozenset()
    fitting = ALGORITHMS.get((said.get("kty"), said.get("crv")), frozenset())
    return fitting & {said["alg"]} if "alg" in said else fitting


def source(issuer: str, place: str | None) -> Callable[[], Any]:
    """Reads the key set: of a file, of an address, or, where no place is named, of the one that the issuer names."""
    name, address = ("ISSUER", issuer) if place is None else ("JWKS", place)
    if unchanged(address):
        return lambda: _discovered(issuer) if place is None else fetched(address)
    if place is None or is_web_address(address) or not Path(address).is_file():
        file = "" if place is None else "neither a file nor "
        raise EvergreenError(
            f"EVERGREEN_SERVING_OIDC_{name} is {file}an address to fetch keys from: https://host/..., as anybody on the"
            " way could change what comes by http"
        )
    return lambda: json.loads(Path(address).read_bytes())


def _discovered(issuer: str) -> Any:
    said = fetched(issuer.rstrip("/") + WELL_KNOWN)
    if not isinstance(said, dict) or said.get("issuer") != issuer:
        raise Unfit("who answers there is not the issuer of EVERGREEN_SERVING_OIDC_ISSUER, to the letter")
    return fetched(str(said.get("jwks_uri")))


def fetched(address: str) -> Any:
    """The JSON at an address that nobody on the way can change; Unfit for any other."""
    if not unchanged(address):
        raise Unfit("keys are fetched by https alone, but for this machine's own addresses")
    asked = urllib.request.Request(address, headers={"Accept": "application/json"})  # noqa: S310 - just looked at
    with urllib.request.build_opener(_Straight).open(asked, timeout=PATIENCE_SECONDS) as reply:
        body = reply.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise Unfit(f"more than {MOST_BYTES:,} bytes are no key set")
    return json.loads(body)


def unchanged(address: str) -> bool:
    """Whether what is fetched from an address is what was sent: https, or http that does not leave the machine."""
    if not is_web_address(address):
        return False
    parts = urlsplit(address)
    return parts.scheme == "https" or parts.hostname in LOOPBACK


class _Straight(urllib.request.HTTPRedirectHandler):
    """Goes nowhere but where it was sent: a redirect could lead away from https."""

    def redirect_request(self, *_: Any) -> None:
        return None
