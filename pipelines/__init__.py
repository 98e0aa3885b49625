"""Evergreen: the stages of continuous training, importable and runnable without Airflow."""
