"""The feature views in pandas: the same eight as in `feature_repo/`, computed for one span of time."""

from typing import TYPE_CHECKING, Any

from benchmarks.stock_dag.places import Home

if TYPE_CHECKING:
    import pandas as pd

WEEK = "7D"
DEPARTED, ARRIVED = "departure_delay", "arrival_delay"
ORIGIN, CARRIER, DEST = "origin", "carrier", "dest"
HOURS, DAYS = [("24h", 24), ("7d", 168)], [("1d", 4), ("7d", 28)]
TICKED: dict[str, tuple[str, str, list[str], str, list[tuple[str, int]], bool]] = {
    # view: (dataset, value, keys, a tick every, windows in ticks, whether flights are counted)
    "carrier_delays": ("departures", DEPARTED, [ORIGIN, CARRIER], "1h", [("3h", 3), *HOURS], False),
    "carrier_punctuality": ("flights", ARRIVED, [CARRIER], "6h", DAYS, False),
    "destination_delays": ("flights", ARRIVED, [DEST], "1h", [("6h", 6), *HOURS], False),
    "origin_congestion": (
        "departures",
        DEPARTED,
        [ORIGIN],
        "15min",
        [("1h", 4), ("3h", 12), ("24h", 96)],
        True,
    ),
    "route_punctuality": ("flights", ARRIVED, [ORIGIN, DEST], "6h", DAYS, False),
}


def compute(start: "pd.Timestamp", end: "pd.Timestamp", home: Home) -> dict[str, int]:
    """Append to each view's file what became known from `start` to `end`; how many rows each got."""
    import pandas as pd

    silver = {name: known(name, start - pd.Timedelta(WEEK), end, home) for name in ("flights", "departures")}
    made = {name: ticks(silver[of[0]], *of[1:], start, end) for name, of in TICKED.items()}
    made["aircraft_rotation"] = rotation(silver["departures"], silver["flights"], start)
    made["origin_weather"] = weather(known("weather", start - pd.Timedelta("6h"), end, home), start)
    return {name: append(home, name, rows) for name, rows in made.items()}


def known(dataset: str, start: Any, end: Any, home: Home) -> "pd.DataFrame":
    """The rows of a table that became known from `start` on and before `end`, as files are cut."""
    from deltalake import DeltaTable

    rows = DeltaTable(home.table(dataset)).to_pandas(
        filters=[("available_at", ">=", start.to_pydatetime()), ("available_at", "<", end.to_pydatetime())]
    )
    return rows.sort_values("available_at", ignore_index=True)


def ticks(
    rows: "pd.DataFrame",
    value: str,
    keys: list[str],
    every: str,
    windows: list[tuple[str, int]],
    counted: bool,
    start: "pd.Timestamp",
    end: "pd.Timestamp",
) -> "pd.DataFrame":
    """Mean delay and share of late flights over the windows that end at each tick, by key."""
    import pandas as pd

    rows = rows.dropna(subset=[value])
    measured = rows[keys].assign(
        tick=rows["available_at"].dt.ceil(every),
        n=1.0,
        delay=rows[value].clip(upper=180),
        late=(rows[value] >= 15).astype("float64"),
    )
    sums = measured.groupby([*keys, "tick"])[["n", "delay", "late"]].sum().unstack(keys)
    moments = pd.date_range(start.floor(every) - pd.Timedelta(WEEK), end, freq=every, name="tick")
    sums = sums.reindex(moments).fillna(0.0)
    found = {}
    for name, length in windows:
        over = sums.rolling(length, min_periods=1).sum()
        if counted:
            found[f"departures_{name}"] = over["n"]
        seen = over["n"].where(over["n"] > 0)
        found[f"mean_{value}_{name}"], found[f"late_share_{name}"] = over["delay"] / seen, over["late"] / seen
    wide = pd.concat({name: each[seen.index > start] for name, each in found.items()}, axis=1)
    tall = wide.stack(keys, future_stack=True)
    return tall[seen[seen.index > start].stack(keys, future_stack=True).notna().to_numpy()].reset_index(
        names=["event_timestamp", *keys]
    )


def rotation(departures: "pd.DataFrame", flights: "pd.DataFrame", start: "pd.Timestamp") -> "pd.DataFrame":
    """How late each aircraft left New York and arrived over the last twelve hours, at each of its movements."""
    import pandas as pd

    since = start - pd.Timedelta("12h")
    left = departures[["tailnum", "available_at"]].assign(left=departures[DEPARTED])
    arrived = flights[["tailnum", "available_at"]].assign(arrived=flights[ARRIVED]).dropna(subset="arrived")
    moves = pd.concat([left, arrived]).dropna(subset="tailnum")
    moves = moves[moves["available_at"] >= since].sort_values(["tailnum", "available_at"])
    last = moves["arrived"].fillna(moves["left"])
    moves = moves.assign(left=moves["left"].clip(upper=180), arrived=moves["arrived"].clip(upper=180))
    half_day = (
        moves.set_index("available_at").groupby("tailnum")[["left", "arrived"]].rolling("12h", closed="both")
    )
    means, counts = half_day.mean(), half_day.count()
    made = pd.DataFrame(
        {
            "tailnum": moves["tailnum"].to_numpy(),
            "event_timestamp": moves["available_at"].to_numpy(),
            "mean_departure_delay_12h": means["left"].to_numpy(),
            "departures_12h": counts["left"].to_numpy(),
            "mean_arrival_delay_12h": means["arrived"].to_numpy(),
            "last_delay": last.to_numpy(),
        }
    )
    made["event_timestamp"] = pd.to_datetime(made["event_timestamp"], utc=True)
    made = made.drop_duplicates(["tailnum", "event_timestamp"], keep="last")
    return made[made["event_timestamp"] >= start]


def weather(rows: "pd.DataFrame", start: "pd.Timestamp") -> "pd.DataFrame":
    """The last full hour at each origin, with rain and the worst sight of six hours."""
    rows = rows.sort_values(["origin", "available_at"], ignore_index=True)
    hours = rows.set_index("available_at").groupby("origin").rolling("5h", closed="both")
    rows["precip_6h"] = hours["precip"].sum().to_numpy()
    rows["visib_min_6h"] = hours["visib"].min().to_numpy()
    rows = rows.rename(columns={"available_at": "event_timestamp"}).drop(columns="observed_at")
    return rows[rows["event_timestamp"] >= start]


def aircraft(home: Home) -> int:
    """The register, which lands once."""
    from deltalake import DeltaTable

    rows = DeltaTable(home.table("planes")).to_pandas()[
        ["tailnum", "year", "seats", "engines", "available_at"]
    ]
    return append(home, "aircraft", rows.rename(columns={"available_at": "event_timestamp"}))


def append(home: Home, view: str, rows: "pd.DataFrame") -> int:
    """A view's file with these rows at its end; how many they are."""
    import pandas as pd

    path = home.view(view)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = rows.assign(created_timestamp=rows["event_timestamp"])
    earlier = [pd.read_parquet(path)] if path.exists() else []
    pd.concat([*earlier, rows], ignore_index=True).to_parquet(path, index=False)
    return len(rows)
