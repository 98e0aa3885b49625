"""`python -m pipelines.cli` is `evergreen`."""

from pipelines.cli import app

app()
