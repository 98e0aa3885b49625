"""What the docs say that models share is what their specs and their views' SQL say."""

from pipelines import catalog
from pipelines.features.dialects import datasets_in
from pipelines.settings import PROJECT

HEAD = "| view | reads | used by |"


def test_the_table_of_what_models_share_is_that_of_the_specs_and_of_the_views_sql() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text()
    _, _, table = text.partition(f"{HEAD}\n| --- | --- | --- |\n")
    said = table.split("\n\n")[0].splitlines()
    assert len(said) > 5
    assert said == [row(path.stem, path.read_text()) for path in sorted(PROJECT.glob("feature_repo/*.sql"))]


def row(view: str, sql: str) -> str:
    return f"| `{view}` | {', '.join(sorted(datasets_in(sql)))} | {', '.join(catalog.models_with(view)) or 'nobody'} |"
