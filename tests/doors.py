"""Who signs tokens and certificates, played: all keys are made when a test asks for them."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE, SUBJECT = "https://issuer.example/realm", "evergreen-api", "somebody-7f3a"
MINUTE = timedelta(minutes=1)
USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@lru_cache
def private(algorithm: str, number: int) -> Any:
    """A private key for an algorithm; another for each number."""
    if algorithm[:2] in ("RS", "PS"):
        return rsa.generate_private_key(65537, 2048)
    return (
        ed25519.Ed25519PrivateKey.generate()
        if algorithm == "EdDSA"
        else ec.generate_private_key(CURVES[algorithm])
    )


CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def shown(algorithm: str = "ES256", number: int = 0, kid: str | None = "one", **more: Any) -> dict[str, Any]:
    """The public half as a member of a JSON Web Key Set."""
    kind = {"R": RSAAlgorithm, "P": RSAAlgorithm, "E": ECAlgorithm}[algorithm[0]]
    kind = OKPAlgorithm if algorithm == "EdDSA" else kind
    said = kind.to_jwk(private(algorithm, number).public_key(), as_dict=True)
    return {**said, **({} if kid is None else {"kid": kid}), **more}


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says, with changes; what is changed to None it does not say."""
    now = datetime.now(UTC)
    said = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "iat": now, "nbf": now, "exp": now + 5 * MINUTE,
        "scope": "openid predict",
    } | changes  # fmt: skip
    return {name: value for name, value in said.items() if value is not None}


def token(
    algorithm: str = "ES256",
    number: int = 0,
    kid: str | None = "one",
    headers: dict[str, Any] | None = None,
    **changes: Any,
) -> str:
    """A token, signed."""
    named = ({} if kid is None else {"kid": kid}) | (headers or {})
    return jwt.encode(claims(**changes), private(algorithm, number), algorithm, named)


@dataclass
class Published:
    """What an issuer publishes; counts who asks, and may be down."""

    keys: list[Any] = field(default_factory=lambda: [shown()])
    down: bool = False
    asked: int = 0

    def __call__(self) -> Any:
        self.asked += 1
        if self.down:
            raise ConnectionError(f"no answer from {ISSUER}")
        return {"keys": list(self.keys)}


@dataclass(frozen=True)
class Authority:
    """Signs certificates; `file` is its own."""

    folder: Path
    key: Any
    certificate: x509.Certificate

    @classmethod
    def made(cls, folder: Path) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        whose = _name("an authority of a test")
        built = _certificate(whose, whose, key.public_key(), -MINUTE, timedelta(days=1))
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        built = built.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        built = built.add_extension(
            x509.KeyUsage(**dict.fromkeys(USES, False) | {"key_cert_sign": True}), critical=True
        )
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder, key, built.sign(key, hashes.SHA256()))
        made.file.write_bytes(made.certificate.public_bytes(serialization.Encoding.PEM))
        return made

    @property
    def file(self) -> Path:
        return self.folder / "authority.pem"

    def signs(
        self,
        names: Iterable[str] = ("127.0.0.1", "localhost"),
        begins: timedelta = -MINUTE,
        ends: timedelta = timedelta(hours=1),
        passphrase: bytes | None = None,
    ) -> tuple[Path, Path]:
        """A server's certificate and its key; written anew each time, under the same names."""
        key = ec.generate_private_key(ec.SECP256R1())
        built = _certificate(_name("a server"), self.certificate.subject, key.public_key(), begins, ends)
        built = built.add_extension(x509.SubjectAlternativeName([_san(n) for n in names]), critical=False)
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        built = built.add_extension(by, critical=False)
        signed = built.sign(self.key, hashes.SHA256())
        certificate, private_key = self.folder / "server.pem", self.folder / "server.key"
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private_key.touch(0o600)
        locked = (
            serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        )
        private_key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
        )
        return certificate, private_key


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _certificate(
    whose: x509.Name, by: x509.Name, key: Any, begins: timedelta, ends: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    named = x509.CertificateBuilder().subject_name(whose).issuer_name(by).public_key(key)
    return (
        named.serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
