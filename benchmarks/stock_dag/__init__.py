"""The loop as the tutorials of Airflow, Great Expectations, Feast, MLflow, scikit-learn and Evidently write it.

In comes a day's files of flights, departures and weather; out go a Delta table each, feature files, an online store, a
registered model, its alias and a report. It imports of this project only what both sides must have in common: the
suites of `expectations/`, the estimator with its parameters, and what a dataset's columns are called.
"""
