# One image for every role; docker-compose.yml says which command runs.
FROM python:3.11-slim-bookworm AS build
WORKDIR /opt/evergreen
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY locks/production.txt locks/
# The lock is whole: nothing else is looked for.
RUN pip install --no-cache-dir --no-deps --require-hashes -r locks/production.txt
# docker compose build --build-arg LINEAGE=yes: what tells OpenLineage which data each task read and wrote.
ARG LINEAGE=
COPY locks/lineage.txt locks/
RUN test -z "$LINEAGE" || pip install --no-cache-dir --no-deps --require-hashes -r locks/lineage.txt
# docker compose build --build-arg SPARK=yes: what computes features and joins training sets on Spark.
ARG SPARK=
COPY locks/spark.txt locks/
RUN test -z "$SPARK" || pip install --no-cache-dir --no-deps --require-hashes -r locks/spark.txt

FROM python:3.11-slim-bookworm
ARG SPARK=
# git: training records the commit it runs at, and asks git for it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgomp1 ${SPARK:+openjdk-17-jre-headless} \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home evergreen
COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/evergreen
COPY . .
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/evergreen:/opt/evergreen/plugins \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/evergreen/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/evergreen/plugins
# A new volume takes the owner of the folder it covers.
RUN mkdir -p /data/landing /data/logs /keys /opt/airflow && chown -R evergreen /data /keys /opt/airflow && chmod 700 /keys
USER evergreen
VOLUME /data
CMD ["python", "-m", "pipelines.serving"]
