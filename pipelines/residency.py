"""Where state is declared to lie, and which of a deployment's addresses do not lie there as far as they tell."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipelines.places import LOOPBACK, local

LOCAL = "local"
"""The word by which an operator says that this machine, with its disks, lies where data may."""
AMAZON = re.compile(r"(?:^|[.-])(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?$")


@dataclass(frozen=True)
class Residency:
    """A declaration such as `local,eu-central-1,.db.example.eu,gs://bucket`, taken apart.

    A word without a dot is a region, one with a dot a host or, behind a dot, the end of hosts' names; an address stands
    for all that lies below it, on the word of whoever wrote it.
    """

    words: frozenset[str]

    @classmethod
    def of(cls, text: str) -> "Residency":
        return cls(frozenset(word.strip().lower() for word in text.split(",") if word.strip()))

    def against(self, address: str, region: str | None, endpoint: str | None) -> str | None:
        """Why what lies at an address may not lie there, or nobody can tell that it may; None if it may."""
        folder = local(address)
        if folder is not None or address.startswith("sqlite"):
            return self._here()
        if any(address.lower().startswith(word) for word in self.words if "://" in word):
            return None
        if address.startswith(("s3://", "s3a://")):
            return self._bucket(region, endpoint)
        if address.startswith(("gs://", "gcs://", "az://", "abfs://", "abfss://", "adl://")):
            return (
                f"its address names no region: if {_below(address)} lies there, declare that address itself"
            )
        return self._host(_host(address))

    def _here(self) -> str | None:
        if LOCAL in self.words:
            return None
        return f"it is on this machine's disk: declare `{LOCAL}` if this machine lies there"

    def _bucket(self, region: str | None, endpoint: str | None) -> str | None:
        """A request for a region's bucket is signed for that region, so a store elsewhere refuses it."""
        if endpoint:
            host = _host(endpoint)
            found = AMAZON.search(host or "")
            return self._region(found["region"]) if found else self._host(host)
        return self._region(region)

    def _region(self, region: str | None) -> str | None:
        if not region:
            return "its region is not told: set AWS_REGION to the bucket's"
        return None if region.lower() in self.words else f"it is in {region}, which is not declared"

    def _host(self, host: str | None) -> str | None:
        if host is None:
            return "its host cannot be read from its address: declare the address itself"
        if host in LOOPBACK or host == "":
            return self._here()
        found = AMAZON.search(host)
        if found is not None and self._region(found["region"]) is None:
            return None
        hosts = [word for word in self.words if "." in word and "://" not in word]
        if any(host == word or (word.startswith(".") and host.endswith(word)) for word in hosts):
            return None
        return f"its host {host} is not declared, nor the end of its name, such as .{host.partition('.')[2] or host}"


def foreign(declared: str, lies: Mapping[str, str], region: str | None, endpoint: str | None) -> list[str]:
    """What does not lie where it is declared to, each by its setting's name, and the remedy; no address is told."""
    residency = Residency.of(declared)
    told = ((name, residency.against(address, region, endpoint)) for name, address in lies.items())
    return [f"{name}: {why}" for name, why in told if why is not None]


def _host(address: str) -> str | None:
    """An address's host without user, password and port; empty for a socket of this machine, None if there is none."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address.partition(',')[0]}")
        host = parts.hostname
    except ValueError:
        return None
    if host is None:
        return "" if address.startswith("postgresql") and not parts.netloc.rpartition("@")[2] else None
    return host.lower()


def _below(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
