"""Tells Airflow of Evergreen's pages. Every component imports this file, so it imports nothing itself."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """The pages' app, loaded by the API server with the first request."""
    from evergreen_airflow.pages import app

    await app(scope, receive, send)


class Evergreen(AirflowPlugin):
    name = "evergreen"
    fastapi_apps = [{"app": pages, "url_prefix": "/evergreen", "name": "Evergreen"}]  # noqa: RUF012 - Airflow's form
    external_views = [
        {
            "name": "Evergreen",
            "href": "/evergreen/dag/{DAG_ID}",
            "destination": destination,
            "url_route": f"evergreen_{destination}",
        }
        for destination in ("dag", "dag_run")
    ] + [
        {"name": "Models", "href": "/evergreen/models", "destination": "nav", "url_route": "evergreen_models"}
    ]
