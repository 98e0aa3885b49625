"""Folders, files and addresses: which of them this product can work with, and how a file is named and written."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from pipelines.contracts import EvergreenError

ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/")
ENCODED = re.compile("%(?=[0-9A-Fa-f]{2})")
OBJECT_STORES = ("s3", "az", "abfs", "abfss", "gs")
"""The addresses of object stores that Delta's library and obstore both speak."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""The names of this machine that no other machine answers to."""
RESTORING = "restoring.json"
"""The file in a home that is there while the home is restored; until it is gone, nothing in there is believed."""
UNFIT = (
    (re.compile(r"[\ud800-\udfff]"), "is not UTF-8"),
    (re.compile(r"[\x00-\x1f\x7f]"), "holds a control character"),
    (
        re.compile(r"[][?*|^\\]"),
        "holds {!r}, which Delta tables and DuckDB read as a pattern or cannot read at all",
    ),
    (re.compile(r"%[0-9A-Fa-f]{2}"), "holds {!r}, which Delta tables read as an encoded character"),
    (re.compile(r"\$[A-Za-z_{]\w*"), "holds {!r}, which Airflow reads as a variable"),
)
"""What no back end below can be taught: delta-rs panics or looks in another folder, DuckDB and Spark search for a
pattern. Spaces, accents, quotes and any other sign are no reason."""


def fault(folder: Path) -> str | None:
    """Why no state can lie below a folder, by its own name and by what it is a link to; None if it can."""
    names = (part for path in (folder, _real(folder)) for part in path.parts)
    return next(filter(None, map(_named, names)), None)


def half_restored(home: Path) -> str | None:
    """What to do about a home that is being restored from a backup, or whose restore was cut off; None if it is not."""
    if not (home / RESTORING).exists():
        return None
    return (
        f"{home} is half restored from a backup, and nothing in it counts yet; wait for `evergreen restore`, or run it"
        " again with the same backup"
    )


def is_address(folder: Path | str) -> bool:
    """Whether what was meant as a folder is an address, such as s3://bucket: it would become a folder `s3:` here."""
    return bool(ADDRESS.match(str(folder)))


def _real(folder: Path) -> Path:
    try:
        return folder.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL
        return folder


def _named(name: str) -> str | None:
    for pattern, why in UNFIT:
        found = pattern.search(name)
        if found is not None:
            return f"the folder {shown(name)} {why.format(found.group())}"
    return None


def shown(name: str) -> str:
    """A name as text that can be printed, whatever bytes it has."""
    return repr(os.fsencode(name).decode("utf-8", "backslashreplace"))


MOUNTED = (Path("/run/secrets"), Path("/var/run/secrets"))
"""Where container engines mount secrets for one container alone, with modes that nobody inside chose."""


def secret_in(file: Path, setting: str) -> str:
    """The text of a file that holds a secret: nobody but its owner and its group may read it, or its owner write it.

    EvergreenError, which never shows what is in it, if somebody else may or if it is no text.
    """
    mounted = any(file.is_relative_to(folder) for folder in MOUNTED)
    try:
        if file.stat().st_mode & (0o022 if mounted else 0o027):
            raise EvergreenError(
                f"{setting}: others than its owner may use {shown(str(file))}; mend it: chmod 600 {file}"
                " (440 is well too, for a group that may read it)"
            )
        return file.read_text()
    except (OSError, ValueError):
        raise EvergreenError(f"{setting}: {shown(str(file))} is no text that can be read") from None


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside `path` to write, which takes its place at the end: readers see all of it or what was there before.

    Its folder is made. Whatever goes wrong leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def local(uri: str) -> Path | None:
    """The folder that a path or a file:// address names; None if it lies elsewhere. Only an address is encoded."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return Path(unquote(parts.path) if parts.scheme else uri)
    return None


def sqlite_url(file: Path) -> str:
    """SQLAlchemy's address of a SQLite file; it decodes the path and ends it at a question mark.

    Encoded is only what would be misread: MLflow makes the folders of the path as it stands in the address.
    """
    return f"sqlite:///{ENCODED.sub('%25', str(file)).replace('?', '%3F')}"


def is_web_address(text: str) -> bool:
    """Whether a text is an http or https address with a host, as urllib can ask for it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    host = bool(parts.hostname) and parts.username is None and parts.password is None and port != 0
    return plain and host and parts.scheme in ("http", "https")


TOLD_BY = frozenset(
    {
        "discord", "gchat", "goalert", "goalerts", "gotify", "gotifys", "ifttt", "json", "jsons", "mailgun", "mailto",
        "mailtos", "matrix", "matrixs", "mmost", "mmosts", "ntfy", "ntfys", "opsgenie", "pagerduty", "pover",
        "rocket", "rockets", "sendgrid", "signl4", "slack", "spike", "splunk", "squadcast", "tgram", "twilio",
        "victorops", "webex", "workflow", "workflows", "wxteams", "xml", "xmls", "zulip",
    }
)  # fmt: skip
"""The ways by which Apprise reaches people over the network that alerts may take; none writes a file or starts one."""
HOSTED = frozenset({"json", "jsons", "xml", "xmls", "mailto", "mailtos"})
"""Those of them whose addresses begin with a host; elsewhere a token may stand there."""
BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*:)|[\s,]+$")
WAY = re.compile(r"([A-Za-z][A-Za-z0-9]*)://[!-~]+")


def told_at(text: str) -> list[str]:
    """Each of several Apprise addresses, which stand apart by spaces, commas or lines."""
    return [each for each in BETWEEN.split(text.strip()) if each]


def cannot_be_told_at(address: str) -> str | None:
    """Why alerts cannot go to an address of Apprise, without showing it; None if they can, as far as its form says."""
    found = WAY.fullmatch(address)
    if found is None:
        return "it does not read WAY://..., in ASCII and without spaces"
    way = found[1].lower()
    if way in ("http", "https"):
        return f"a webhook is written {'jsons' if way == 'https' else 'json'}:// in place of {way}://"
    if way not in TOLD_BY:
        return f"its way is none of {', '.join(sorted(TOLD_BY))}"
    return "it has no host, or a port that is none" if way in HOSTED and not _hosted(address) else None


def _hosted(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
