"""Certificates: the one that serving shows, taken anew once renewed, and the authorities that its callers trust."""

import logging
import ssl
import stat
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError

from pipelines.contracts import EvergreenError
from pipelines.settings import Settings

log = logging.getLogger("evergreen.serving")


def offered(settings: Settings) -> dict[str, Any]:
    """uvicorn's arguments for TLS; none where serving speaks HTTP.

    EvergreenError if certificate and key cannot be used, with the remedy.
    """
    certificate, key = settings.serving_tls_cert, settings.serving_tls_key
    if certificate is None or key is None:
        return {}
    loaded(certificate, key, datetime.now(UTC))
    return {"ssl_context_factory": partial(_context, certificate, key)}


def _context(certificate: Path, key: Path, *_: object) -> ssl.SSLContext:
    """What each process of a server makes for itself."""
    return Shown(certificate, key).context


class Shown:
    """The certificate that a server shows: looked for anew at each connection, the one before kept if it is unfit."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self._seen = self._stamp()
        self.context = self._newest = loaded(certificate, key, datetime.now(UTC))
        self.context.sni_callback = self._renewed

    def _renewed(self, connection: Any, name: object, context: object) -> None:
        """Called by OpenSSL once a caller has said hello, before it is shown anything."""
        stamp = self._stamp()
        if stamp is not None and stamp != self._seen:
            self._seen = stamp
            try:
                self._newest = loaded(self._certificate, self._key, datetime.now(UTC))
                log.info("the certificate was renewed")
            except EvergreenError as error:
                log.warning("the certificate was changed, the one before is kept: %s", error)
        connection.context = self._newest

    def _stamp(self) -> tuple[int, ...] | None:
        """What is different once either file is; None while one of them is gone."""
        try:
            found = [path.stat() for path in (self._certificate, self._key)]
        except OSError:
            return None
        return tuple(number for each in found for number in (each.st_mtime_ns, each.st_size, each.st_ino))


def loaded(certificate: Path, key: Path, now: datetime) -> ssl.SSLContext:
    """What a server needs to speak TLS 1.2 or newer; EvergreenError says which of both files is unfit, and why."""
    _lasts(certificate, now)
    try:
        if key.stat().st_mode & stat.S_IROTH:
            raise EvergreenError(f"EVERGREEN_SERVING_TLS_KEY: everybody may read {key}; `chmod 600 {key}`")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key, lambda: _encrypted(key))
    except ssl.SSLError as error:
        why = (
            "is not that of the certificate in EVERGREEN_SERVING_TLS_CERT"
            if error.reason == "KEY_VALUES_MISMATCH"
            else "is no private key in PEM that can be read"
        )
        raise EvergreenError(f"EVERGREEN_SERVING_TLS_KEY: {key} {why}") from None
    except OSError as error:
        raise EvergreenError(f"EVERGREEN_SERVING_TLS_KEY: {key} cannot be read ({error.strerror})") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def _encrypted(key: Path) -> NoReturn:
    raise EvergreenError(
        f"EVERGREEN_SERVING_TLS_KEY: {key} has a passphrase, and nobody is there to type it; store it without one"
    )


def _lasts(certificate: Path, now: datetime) -> None:
    from cryptography import x509

    try:
        first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except OSError as error:
        raise EvergreenError(
            f"EVERGREEN_SERVING_TLS_CERT: {certificate} cannot be read ({error.strerror})"
        ) from None
    except ValueError:
        raise EvergreenError(
            f"EVERGREEN_SERVING_TLS_CERT: {certificate} holds no certificate in PEM"
        ) from None
    begins, ends = first.not_valid_before_utc, first.not_valid_after_utc
    if not begins <= now < ends:
        raise EvergreenError(
            f"EVERGREEN_SERVING_TLS_CERT: {certificate} is good from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M}"
            " UTC, so not now; renew it"
        )


def trusted(authorities: Path | str | None) -> ssl.SSLContext | None:
    """What a client trusts: the authorities in a file and no others, or for None those that the machine trusts."""
    if authorities is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(authorities))
    except OSError as error:  # ssl.SSLError is one
        why = "no certificate in PEM is in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise EvergreenError(f"the authorities in {authorities} cannot be read ({why})") from None


def doubted(address: str, error: BaseException) -> EvergreenError | None:
    """What is told where a server's certificate is not trusted; None for any other error."""
    reason = error.reason if isinstance(error, URLError) else error
    if not isinstance(reason, ssl.SSLCertVerificationError):
        return None
    return EvergreenError(
        f"the certificate that {address} shows is not trusted ({reason.verify_message}); name the authority that signed"
        " it (EVERGREEN_SERVING_TLS_CA, a client's `authorities`), and ask under a name that it has"
        " (EVERGREEN_SERVING_URL)"
    )
