"""Evergreen's use of Airflow's extension points: arrival trigger, notifiers, running a stage as a task."""
