"""This deployment's keys: one signs models and verdicts, one chains the audit log. Only their owner can read them."""

import os
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.contracts import EvergreenError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNING, VERIFYING, AUDIT = "signing.pem", "verifying.pem", "audit.key"


class Keys:
    """A folder of keys. What signs makes its key when there is none; what verifies never does.

    Serving needs `verifying.pem` alone: who holds no more than that can check a model, but not vouch for one. It also
    lies in `shown`, if that is another folder, for whoever may not see this one.
    """

    def __init__(self, folder: Path, shown: Path | None = None) -> None:
        self.folder, self._shown = folder, shown or folder

    def sign(self, statement: bytes) -> str:
        """The Ed25519 signature of a statement, in hex."""
        return self._private.sign(statement).hex()

    def verifies(self, statement: bytes, signature: str) -> bool:
        """Whether this deployment signed exactly this statement."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._public.verify(bytes.fromhex(signature), statement)
        except (InvalidSignature, ValueError):
            return False
        return True

    @cached_property
    def audit(self) -> bytes:
        """The secret of the audit log's chain; made if there is none."""
        path = self.folder / AUDIT
        if not path.exists():
            _write_once(path, secrets.token_bytes(32))
        return path.read_bytes()

    def exposed(self) -> list[str]:
        """What others than the owner could read or replace, each with what to do.

        Where the folder cannot be written, as a mounted Secret of Kubernetes, nothing can be replaced, and the group is
        how its owner, root, lets this process read.
        """
        given = self.folder.exists() and os.statvfs(self.folder).f_flag & os.ST_RDONLY
        folder, key = (0, 0o007) if given else (0o022, 0o077)
        bars = {self.folder: folder, self.folder / SIGNING: key, self.folder / AUDIT: key}
        open_to_others = [path for path, bar in bars.items() if path.exists() and path.stat().st_mode & bar]
        return [f"{path} is open to others than its owner; `chmod go= {path}`" for path in open_to_others]

    @cached_property
    def _private(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        path = self.folder / SIGNING
        if not path.exists():
            plain = (form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
            _write_once(path, Ed25519PrivateKey.generate().private_bytes(*plain))
        try:
            key = form.load_pem_private_key(path.read_bytes(), None)
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise EvergreenError(f"{path} is no Ed25519 key; put the deployment's signing key there")
        public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        for folder in {self.folder, self._shown}:
            if not (folder / VERIFYING).exists():  # keys may be mounted where nobody can write
                _write_once(folder / VERIFYING, public)
        return key

    @cached_property
    def _public(self) -> "Ed25519PublicKey":
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        path = self.folder / VERIFYING
        if not path.exists():
            raise EvergreenError(
                f"{path} is missing, so no model can be verified; copy it from where models are trained"
            )
        try:
            key = form.load_pem_public_key(path.read_bytes())
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise EvergreenError(f"{path} is no Ed25519 key; copy it from where models are trained")
        return key


def _write_once(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read, whole; whoever comes first wins."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise EvergreenError(
            f"{path} is missing and cannot be made: {error.strerror}; put the deployment's key there"
        ) from None
    try:
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink()
