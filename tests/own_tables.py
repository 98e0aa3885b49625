"""Tables of people, as text, and what is decided of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.scaffold.data.profile import Facts, profiled
from pipelines.scaffold.data.sources import Source, opened
from pipelines.scaffold.design import Design, Said, design


@contextmanager
def read(path: Path) -> Iterator[tuple[Source, list[Facts]]]:
    with opened(path) as source:
        yield source, profiled(source)


def decided(frame: pd.DataFrame, folder: Path, **said: object) -> Design:
    path = folder / "data.csv"
    frame.to_csv(path, index=False)
    with read(path) as (source, found):
        return design("own", path.name, Said(**said), found, source)  # type: ignore[arg-type]


def orders(rows: int = 600) -> pd.DataFrame:
    """Events of shops, with a yes or no that follows amount, shop and channel."""
    dice = np.random.default_rng(0)
    amount, shop = dice.gamma(2, 20, rows).round(2), dice.integers(0, 12, rows)
    channel = dice.choice(["web", "shop", "phone"], rows)
    leaning = (shop - 6) * 0.6 + (amount - 40) / 12 + np.where(channel == "web", 1.0, -1.0)
    return pd.DataFrame(
        {
            "order no": [f"o{n:05d}" for n in range(rows)],
            "shop id": shop,
            "ordered at": pd.date_range("2025-01-01", periods=rows, freq="3h").strftime("%Y-%m-%d %H:%M"),
            "amount (€)": amount,
            "channel": channel,
            "returned": np.where(dice.random(rows) < 1 / (1 + np.exp(-leaning)), "yes", "no"),
        }
    )


def series(rows: int = 800) -> pd.DataFrame:
    """One value a day that rises and swings with the week."""
    days = np.arange(rows)
    value = 100 + days * 0.1 + 10 * np.sin(days / 7 * 2 * np.pi) + np.random.default_rng(1).normal(0, 2, rows)
    return pd.DataFrame(
        {"day": pd.date_range("2023-01-01", periods=rows).strftime("%Y-%m-%d"), "sold": value}
    )


def flowers(rows: int = 400) -> pd.DataFrame:
    """No time and nobody's history: three kinds by two numbers."""
    dice = np.random.default_rng(2)
    petal, sepal = dice.normal(size=rows).round(3), dice.normal(size=rows).round(3)
    kind = np.digitize(petal + sepal + dice.normal(0, 0.4, rows), [-0.7, 0.7])
    return pd.DataFrame(
        {
            "petal": petal,
            "sepal": sepal,
            "species": np.array(["setosa", "virginica", "o'hara; --"])[kind],
        }
    )
