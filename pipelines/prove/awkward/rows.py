"""Rows that must go to quarantine with their line, the rule they broke and their bytes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from random import Random

from pipelines.prove.awkward.bench import ALL, Bench, Case, bad_rows, holds, taken
from pipelines.prove.awkward.sheets import Sheet, lines

Planter = Callable[[Random, Sheet, list[str]], tuple[bytes, str]]
"""Makes of a row the bytes of a broken one, and a pattern of the rule it breaks."""
MARK = "@here@"
NUMBERS = ("integer", "float")
MISREAD = "^(integer|float)$"
AMOUNTS = {
    "flights": ["distance"],
    "weather": ["wind_speed", "precip", "humid", "visib"],
    "planes": ["seats", "engines"],
    "orders": ["amount", "items"],
}
CHANGED = {"flights": "departure_delay", "weather": "temp", "planes": "seats", "orders": "items"}
DOMAINS: dict[str, list[tuple[str, list[str]]]] = {
    "flights": [("origin", ["BOS", "jfk", " JFK", "JFK ", "", "J\u0424K"]), ("carrier", ["AAA", "A"])],
    "weather": [("origin", ["BOS", "ewr", "EWR\u00a0", "N/A"])],
    "orders": [("refunded", ["2", "-1", "10", "99999999999"])],
}


def with_bytes(sheet: Sheet, row: list[str], at: int, raw: bytes) -> bytes:
    """The row's record with these very bytes as one field."""
    marked = [*row[:at], MARK, *row[at + 1 :]]
    return sheet.record(marked).replace(MARK.encode(), raw)


def _too_short(dice: Random, sheet: Sheet, row: list[str]) -> tuple[bytes, str]:
    return sheet.record(row[: dice.randrange(1, len(row))]), "column count"


def _too_long(dice: Random, sheet: Sheet, row: list[str]) -> tuple[bytes, str]:
    return sheet.record([*row, *dice.choice([["1"], [""], ["", ""], ["a,b"], ["1"] * 500])]), "column count"


def _stray_quote(dice: Random, sheet: Sheet, row: list[str]) -> tuple[bytes, str]:
    at = dice.randrange(len(row))
    raw = dice.choice([b'E"R', b'"EW"R', b'12"', b' "x"', b'"x" ', b'"a"b"', b'x""', b'"x"y"z"'])
    return with_bytes(sheet, row, at, raw), "stray quote"


def _number(texts: list[str], *types: str, quoted: bool = False) -> Planter:
    """A planter that puts one of these texts where a number must be."""

    def plant(dice: Random, sheet: Sheet, row: list[str]) -> tuple[bytes, str]:
        at, text = dice.choice(sheet.some(*(types or NUMBERS))), dice.choice(texts)
        loose = "," in text and not quoted and dice.random() < 0.3
        raw = text.encode() if loose else b'"%s"' % text.encode()
        if "," not in text and dice.random() < 0.7:
            raw = text.encode()
        return with_bytes(sheet, row, at, raw), "column count" if loose else MISREAD

    return plant


def _time(*texts: str) -> Planter:
    """A planter that puts one of these texts where a time must be."""

    def plant(dice: Random, sheet: Sheet, row: list[str]) -> tuple[bytes, str]:
        at = dice.choice(sheet.some("timestamp"))
        return with_bytes(sheet, row, at, dice.choice(texts).encode()), "^timestamp$"

    return plant


def _overflow(dice: Random, sheet: Sheet, row: list[str]) -> tuple[bytes, str]:
    text = dice.choice([str(2**63), str(-(2**63) - 1), str(2**64), "9" * 40, "0" * 30 + "9" * 20])
    return with_bytes(sheet, row, dice.choice(sheet.some("integer")), text.encode()), "^integer$"


def _out_of_domain(dice: Random, sheet: Sheet, row: list[str]) -> tuple[bytes, str]:
    column, texts = dice.choice(DOMAINS[sheet.spec.name])
    text = dice.choice(texts)
    raw = with_bytes(sheet, row, sheet.at(column), text.encode())
    return raw, rf"\({column}\)" if text else "not null"


def _negative(dice: Random, sheet: Sheet, row: list[str]) -> tuple[bytes, str]:
    column = dice.choice(AMOUNTS[sheet.spec.name])
    whole = sheet.spec.columns[column].type == "integer"
    text = dice.choice(["-1", "-700", "-999999"] if whole else ["-1", "-0.01", "-7e5", "-.5"])
    return with_bytes(sheet, row, sheet.at(column), text.encode()), rf"\({column}\)"


def _empty_key(dice: Random, sheet: Sheet, row: list[str]) -> tuple[bytes, str]:
    column = dice.choice(sheet.spec.key)
    blank = dice.choice([b"", b'""', b"  ", b'"  "', b"\t ", "\u00a0\u00a0".encode()])
    return with_bytes(sheet, row, sheet.at(column), blank), "."


def _totals(dice: Random, sheet: Sheet, row: list[str]) -> tuple[bytes, str]:
    sums = [str(dice.randrange(10**4)) if i in sheet.some(*NUMBERS) else "" for i in range(len(row))]
    words = ["TOTAL", *sums[1:]], sums, ["Grand total", *[""] * (len(row) - 1)]
    counted = [f"Total: {len(sheet.rows)} rows"]
    return sheet.record(dice.choice([*words, counted])), "."


def _nul(dice: Random, sheet: Sheet, row: list[str]) -> tuple[bytes, str]:
    at = dice.randrange(len(row))
    text = row[at].replace('"', "").replace("\n", "").replace(",", "").encode()
    cut = dice.randrange(len(text) + 1)
    raw = text[:cut] + b"\0" + text[cut:]
    return with_bytes(sheet, row, at, dice.choice([raw, b'"%s"' % raw])), "NUL"


PLANTERS: dict[str, tuple[Planter, tuple[str, ...]]] = {
    "a row too short": (_too_short, ALL),
    "a row too long": (_too_long, ALL),
    "stray quote": (_stray_quote, ALL),
    "decimal comma": (_number(["39,02", "-0,5", ",5", "1,"]), ALL),
    "thousands separator": (
        _number(["1,039", "1.039.000", "1 039", "1'039", "1_039", "1\u00a0039", "1,039.50", "1.039,50"]),
        ALL,
    ),
    "currency text": (_number(["$39", "39 USD", "€39", "39€", "USD 39", "£1", "-$5", "39 kr", "(39)"]), ALL),
    "inf or nan where a number must be": (
        _number(["inf", "-inf", "Infinity", "nan", "NaN", "-nan", "+Inf", "1.#INF", "1.#IND", "∞"]),
        ALL,
    ),
    "1e400": (
        _number(["1e400", "-1e400", "9e999", "1E+309", "1" + "0" * 400, "1.8e308", "1e99999999"], "float"),
        ("weather", "orders"),
    ),
    "integer overflow": (_overflow, ("flights", "planes", "orders")),
    "2026-02-30": (
        _time(
            "2026-02-30T00:00:00Z", "2013-02-29T06:00:00Z", "2013-04-31 00:00:00+00:00",
            "2013-13-01T00:00:00Z", "2013-00-10T00:00:00Z", "2013-01-00T00:00:00Z", "1900-02-29T00:00:00Z",
            "2013-01-01T25:00:00Z", "2013-01-01T00:60:00Z",
        ),
        ALL,
    ),
    "ambiguous 03/04/26": (
        _time("03/04/26", "3/4/2013", "03.04.2013", "04-03-2013", "03/04/2013 10:00", "20130304", "3-Apr-13"),
        ALL,
    ),
    "year 2999": (
        _time(
            "2999-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "12013-01-01T00:00:00Z",
            "2101-01-01T00:00:00Z", "1582-10-10T00:00:00Z",
        ),
        ALL,
    ),
    "naive time where a zone is needed": (
        _time(
            "2013-01-01T06:00:00", "2013-01-01 06:00:00", "2013-01-01", "2013-01-01 06:00",
            "2013-01-01T06:00:00.5", "1357020000",
        ),
        ALL,
    ),
    "DST-gap time where a zone is needed": (
        _time(
            "2013-03-10T02:30:00", "2013-03-10 02:30:00 America/New_York", "2013-03-10T02:30:00 EST5EDT",
            "2013-03-31T02:30:00[Europe/Oslo]", "2013-03-10T02:30:00 ET",
        ),
        ALL,
    ),
    "label out of its domain": (_out_of_domain, tuple(DOMAINS)),
    "negative amount": (_negative, tuple(AMOUNTS)),
    "an empty key": (_empty_key, ALL),
    "NUL in a field": (_nul, ALL),
}  # fmt: skip


def _plant(bench: Bench, planter: Planter, names: tuple[str, ...]) -> str:
    sheet = bench.sheet(*names)
    records, planted = sheet.records, {}
    for at in bench.dice.sample(range(len(records)), bench.dice.randrange(3, 6)):
        records[at], planted[at] = planter(bench.dice, sheet, sheet.rows[at])
    return land_planted(bench, sheet, records, planted)


def land_planted(bench: Bench, sheet: Sheet, records: list[bytes], planted: dict[int, str]) -> str:
    """Takes a file in and promises that the planted records are in quarantine and the rest in silver."""
    where = lines(sheet.header, records)
    result = taken(bench, sheet.spec, bench.name(sheet.spec), sheet.header + b"".join(records))
    good = {where[at]: row for at, row in enumerate(sheet.rows) if at not in planted}
    holds(bench, sheet.spec, result, good)
    bad_rows(bench, sheet.spec, result, {where[at]: (rule, records[at]) for at, rule in planted.items()})
    return f"{len(planted)} of {len(records)} {sheet.spec.name} rows in quarantine, the others in silver"


def _totals_row(bench: Bench) -> str:
    sheet = bench.sheet()
    raw, rule = _totals(bench.dice, sheet, sheet.rows[0])
    return land_planted(bench, sheet, [*sheet.records, raw], {len(sheet.rows): rule})


def _conflict(bench: Bench) -> str:
    """Rows of one key that differ, some of them twice, the key written in several ways."""
    sheet = bench.sheet()
    copies = _contradicting(bench.dice, sheet, bench.dice.choice(sheet.rows))
    rows = [*sheet.rows, *copies]
    bench.dice.shuffle(rows)
    whole = Sheet(sheet.spec, rows)
    key = [sheet.at(name) for name in sheet.spec.key]
    same = {at for at, row in enumerate(rows) if _key(sheet, row, key) == _key(sheet, copies[0], key)}
    return land_planted(bench, whole, whole.records, dict.fromkeys(same, "conflicting|unique"))


def _contradicting(dice: Random, sheet: Sheet, row: list[str]) -> list[list[str]]:
    at = sheet.at(CHANGED[sheet.spec.name])
    values = dice.sample([str(number) for number in range(40, 60) if str(number) != row[at]], 2)
    made = [[*row[:at], text, *row[at + 1 :]] for text in values[: dice.randrange(1, 3)]]
    made[0] = other_writing(dice, sheet, made[0])
    return [*made, row] if dice.random() < 0.5 else made


def other_writing(dice: Random, sheet: Sheet, row: list[str]) -> list[str]:
    """The same row with its times told in another zone and its whole numbers with leading zeros."""
    out = list(row)
    for at in sheet.some("timestamp"):
        zone = timezone(timedelta(minutes=dice.choice([-300, 60, 330, 0])))
        moment = datetime.fromisoformat(row[at]).astimezone(zone)
        out[at] = moment.isoformat(dice.choice("T "), "microseconds")
    for at in sheet.some("integer"):
        out[at] = f"00{row[at]}" if row[at].isdigit() else row[at]
    return out


def _key(sheet: Sheet, row: list[str], key: list[int]) -> list[object]:
    kinds = list(sheet.spec.columns.values())
    return [
        datetime.fromisoformat(row[at]).astimezone(UTC) if kinds[at].type == "timestamp"
        else int(row[at]) if kinds[at].type == "integer" else row[at]
        for at in key
    ]  # fmt: skip


def _case(name: str, planter: Planter, names: tuple[str, ...]) -> Case:
    return Case(name, "QUARANTINE ROW", lambda bench: _plant(bench, planter, names))


CASES = [
    *(_case(name, planter, names) for name, (planter, names) in PLANTERS.items()),
    Case("a totals row", "QUARANTINE ROW", _totals_row),
    Case("conflicting rows with one key", "QUARANTINE ROW, all copies", _conflict),
]
