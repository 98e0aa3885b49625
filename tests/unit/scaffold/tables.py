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
    """Events of shops, with a yes or no that follows the amount."""
    dice = np.random.default_rng(0)
    amount = dice.gamma(2, 20, rows).round(2)
    return pd.DataFrame(
        {
            "order no": [f"o{n:05d}" for n in range(rows)],
            "shop id": dice.integers(0, 12, rows),
            "ordered at": pd.date_range("2025-01-01", periods=rows, freq="3h").strftime("%Y-%m-%d %H:%M"),
            "amount (€)": amount,
            "channel": dice.choice(["web", "shop", "phone"], rows),
            "returned": np.where(dice.random(rows) < 1 / (1 + np.exp(2 - amount / 25)), "yes", "no"),
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
    kind = dice.integers(0, 3, rows)
    return pd.DataFrame(
        {
            "petal": dice.normal(kind, 0.8).round(3),
            "sepal": dice.normal(0, 1, rows).round(3),
            "species": np.array(["setosa", "virginica", "o'hara; --"])[kind],
        }
    )
