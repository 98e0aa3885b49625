"""How callers are known in this deployment."""

from collections.abc import Callable

from pipelines.serving.door.callers import Door
from pipelines.serving.door.keyring import Keyring, Keys
from pipelines.settings import Settings


def entrance(settings: Settings, keys: Callable[[], Keys]) -> Door | None:
    """By keys or by tokens, as EVERGREEN_SERVING_ACCESS says; None where whoever reaches the port is let in."""
    if settings.serving_access == "keys":
        return Keyring(keys, settings.serving_poll_seconds)
    return _tokens(settings) if settings.serving_access == "oidc" else None


def _tokens(settings: Settings) -> Door:
    from pipelines.serving.door.issuer import Issuer
    from pipelines.serving.door.tokens import Tokens, Wanted

    issuer, audience = str(settings.serving_oidc_issuer), str(settings.serving_oidc_audience)
    known = Issuer.of(issuer, settings.serving_oidc_jwks, settings.serving_poll_seconds)
    wanted = Wanted(issuer, audience, settings.serving_oidc_prefix, settings.serving_oidc_per_second)
    return Tokens(known, wanted)
