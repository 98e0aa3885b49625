"""Airflow, MLflow and serving on one machine, started and stopped together."""
