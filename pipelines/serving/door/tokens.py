"""Who a caller is by a token that an issuer signed (OpenID Connect, OAuth 2.0), and what its scopes are good for."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
)

from pipelines.serving.door.callers import CHALLENGE, Rates, Refusal, named, unknown, unread
from pipelines.serving.door.issuer import ALLOWED, Issuer, Known
from pipelines.stores.api_keys import digest_of

LEEWAY = 30.0
"""Seconds by which two clocks may differ."""
MOST_VERIFIED = 1_000
"""Tokens that are not verified again at each request: that takes longer than all else that the door does."""
REQUIRED = ("exp", "iss", "aud", "sub")
KINDS = {"jwt", "at+jwt", "application/at+jwt"}
"""What a token's header may say that it is: an issuer signs other things too."""
UNREADABLE = "this is no token that can be read: a JSON Web Token of three parts, signed by its issuer"
WHY: Mapping[type[Exception], str] = {
    ExpiredSignatureError: "the token has run out; ask its issuer for another",
    ImmatureSignatureError: "the token is not good yet; see that the clocks agree",
    InvalidAudienceError: "the token is for another audience",
    InvalidIssuerError: "the token is of another issuer",
    InvalidSignatureError: "the token is not as its issuer signed it",
}


@dataclass(frozen=True)
class Wanted:
    """Whose a token must be, and for whom; what stands before the names of scopes; how often a subject may ask."""

    issuer: str
    audience: str
    prefix: str = ""
    per_second: float | None = None


@dataclass(frozen=True)
class Bearer:
    """Who brings a token, what it is good for, when it ends (seconds since 1970), and the key it was verified by."""

    subject: str
    scopes: frozenset[str]
    ends: int
    key: Known


class Tokens:
    """Lets in whose token the issuer signed for this audience, and who asks no more often than a subject may.

    Before the issuer's keys were read once, nobody is let in.
    """

    def __init__(self, issuer: Issuer, wanted: Wanted) -> None:
        self._issuer, self._wanted, self._rates = issuer, wanted, Rates()
        self._verified: dict[str, Bearer] = {}

    def start(self) -> None:
        self._issuer.start()

    def stop(self) -> None:
        self._issuer.stop()

    def refusal(self, header: str | None, scope: str) -> Refusal | None:
        """Why a request is not let in; None if it is. `header` is that of Authorization."""
        if self._issuer.known is None:
            return unread("the issuer's keys")
        token = named(header)
        if not token:
            return unknown(
                "name a token: Authorization: Bearer TOKEN, signed by the issuer of this API's tokens"
            )
        try:
            bearer = self._bearer(token)
        except _Unknown as why:
            return why.refusal
        except Exception as error:  # whatever a token makes of its reader, it does not let in
            return unknown(_words(error), "invalid_token")
        needed = self._wanted.prefix + scope
        if needed not in bearer.scopes:
            challenge = f'{CHALLENGE}, error="insufficient_scope"'
            return 403, f"this token's scopes do not have {needed!r}", {"WWW-Authenticate": challenge}
        return self._rates.refusal(bearer.subject, self._wanted.per_second, "whoever this token is for")

    def _bearer(self, token: str) -> "Bearer":
        """Who brings a token; one that was verified before holds on while its key is shown and until it has run out."""
        digest = digest_of(token)
        known = self._verified.get(digest)
        if known is None or known.key not in (self._issuer.known or ()) or time.time() >= known.ends + LEEWAY:
            self._verified.pop(digest, None)
            self._verified[digest] = known = self._verify(token)
            if len(self._verified) > MOST_VERIFIED:
                del self._verified[next(iter(self._verified))]
        return known

    def _verify(self, token: str) -> "Bearer":
        """Who brings a token, once all of it was verified."""
        said = jwt.get_unverified_header(token)
        algorithm = said.get("alg")
        if algorithm not in ALLOWED or str(said.get("typ", "jwt")).lower() not in KINDS:
            raise _Unknown(
                unknown("tokens of this kind, or signed this way, are not let in", "invalid_token")
            )
        known = self._issuer.fitting(said.get("kid"), algorithm)
        if known is None:
            raise _Unknown(self._no_key())
        claims = jwt.decode(
            token,
            known.key,
            algorithms=[algorithm],
            audience=self._wanted.audience,
            issuer=self._wanted.issuer,
            leeway=LEEWAY,
            options={"require": [*REQUIRED]},
        )
        return Bearer(claims["sub"], scopes(claims), int(claims["exp"]), known)

    def _no_key(self) -> Refusal:
        """An issuer that changed its keys is asked at once, but not by each token that names an unknown one."""
        if self._issuer.anew():
            return 503, "the issuer's keys are being read anew; ask again", {"Retry-After": "1"}
        return unknown("the token names no key that its issuer shows", "invalid_token")


class _Unknown(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def _words(error: Exception) -> str:
    if isinstance(error, MissingRequiredClaimError):
        return f"the token has no {error.claim!r}; it must have {', '.join(REQUIRED)}"
    return WHY.get(type(error), UNREADABLE)


def scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """The names in `scope` and `scp`, as a list or with spaces between them."""
    found: set[str] = set()
    for said in (claims.get("scope"), claims.get("scp")):
        names = said.split() if isinstance(said, str) else said if isinstance(said, list) else []
        found |= {name for name in names if isinstance(name, str)}
    return frozenset(found)
