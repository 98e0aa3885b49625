"""Where the stock loop keeps what it makes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """One folder with all of it."""

    root: Path

    def landed(self, dataset: str, window: str) -> Path:
        """A day's file of a dataset; its name ends with the window of time that it covers."""
        return self.root / "landing" / f"{dataset}_{window}.csv"

    def table(self, dataset: str) -> str:
        """The Delta table that a dataset's valid rows are appended to."""
        return str(self.root / "lake" / dataset)

    def view(self, name: str) -> Path:
        """The Parquet file of a feature view."""
        return self.root / "features" / f"{name}.parquet"

    @property
    def training_table(self) -> Path:
        """All labels until now, each with its features."""
        return self.root / "training.parquet"

    @property
    def report(self) -> Path:
        return self.root / "reports" / "monitor.html"

    @property
    def tracking(self) -> str:
        return f"sqlite:///{self.root / 'mlflow.db'}"
