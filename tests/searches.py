"""A small search on made-up flights; run as a program it tells of each trial, to be killed in the middle."""

import sys
from pathlib import Path

from pipelines.catalog import ModelSpec, Search
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.training.search import search
from tests.training_sets import spec, training_set

SPACE = {
    "learning_rate": {"low": 0.01, "high": 0.9, "log": True},
    "min_samples_leaf": {"low": 5, "high": 400, "log": True},
    "max_iter": {"low": 10, "high": 60},
}


def searched_spec(**given: object) -> ModelSpec:
    """The made-up model with a search of eight trials."""
    asked = Search.model_validate({"trials": 8, "timeout": "1h", "folds": 2, "space": SPACE, **given})
    return spec().model_copy(update={"search": asked})


if __name__ == "__main__":
    home = Path(sys.argv[1])
    rows = training_set(home, rows=1500)
    search(
        searched_spec(),
        rows,
        Stores(Settings(_env_file=None, home=home)),
        say=lambda text: print(text, flush=True),
    )
