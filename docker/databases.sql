-- Run once by PostgreSQL's image, when its volume is empty.
create database airflow;
create database mlflow;
