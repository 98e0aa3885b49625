"""Evergreen's use of Airflow's extension points: arrival trigger, alerts, running a stage as a task."""
