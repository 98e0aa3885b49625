"""The name of a container, where processes on one machine play containers; Airflow is told to ask here."""

import os


def of_container() -> str:
    return os.environ["HOSTNAME"]
