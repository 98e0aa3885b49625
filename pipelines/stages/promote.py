"""Promotion: only the digest the gate passed, by one atomic write."""

from datetime import datetime

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, Promotion, Rule, Verdict
from pipelines.stages.evaluate import read_record
from pipelines.stores import Stores
from pipelines.stores.tracking import CHAMPION, PREVIOUS, file_digest


def verdict_of(spec: ModelSpec, version: int, stores: Stores) -> Verdict:
    """The verdict on a version, read from its decision record after checking the record's digest."""
    tags = stores.tracking.version(spec.name, version).tags
    if "record_digest" not in tags:
        raise EvergreenError(
            f"version {version} was not judged; run `evergreen evaluate {spec.name} --version {version}`"
        )
    path = stores.settings.home / "decisions" / spec.name / f"{version}.json"
    plain = read_record(path, tags["record_digest"])
    rules = tuple(Rule(**rule | {"decision": Decision(rule["decision"])}) for rule in plain["rules"])
    known = {name: plain[name] for name in Verdict.__dataclass_fields__}
    return Verdict(
        **known
        | {
            "decision": Decision(plain["decision"]),
            "rules": rules,
            "as_of": datetime.fromisoformat(plain["as_of"]),
        }
    )


def promote(spec: ModelSpec, verdict: Verdict, stores: Stores) -> Promotion:
    """Make the judged version champion if its verdict is PASS and nothing changed since it was given."""
    champion = stores.tracking.champion(spec.name)
    now = champion.version if champion else None

    def refused(reason: str) -> Promotion:
        return Promotion(spec.name, False, now, None, reason)

    if verdict.decision is not Decision.PASS:
        return refused(f"version {verdict.version} is {verdict.decision.value}; the champion stays")
    if now == verdict.version:
        return refused(f"version {now} is champion already; nothing to do")
    if now != verdict.champion_version:
        return refused(
            f"the champion is {now} now, the gate compared with {verdict.champion_version}; judge again"
        )
    version = stores.tracking.version(spec.name, verdict.version)
    found = file_digest(stores.tracking.file(version))
    if not verdict.digest == version.digest == found:
        return refused(f"version {verdict.version} is not the file that was judged; it is refused")
    if champion is not None:
        stores.tracking.set_alias(spec.name, PREVIOUS, champion.version)
    stores.tracking.set_alias(spec.name, CHAMPION, verdict.version)
    return Promotion(spec.name, True, verdict.version, now, f"passed its gate on {verdict.rows:,} rows")
