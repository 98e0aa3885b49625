# One image for every role; docker-compose.yml says which command runs.
FROM python:3.11-slim-bookworm AS build
WORKDIR /opt/evergreen
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY locks/production.txt locks/
RUN pip install --no-cache-dir --require-hashes -r locks/production.txt

FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home evergreen
COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/evergreen
COPY . .
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/evergreen:/opt/evergreen/plugins \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/evergreen/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/evergreen/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/evergreen/plugins
RUN mkdir -p /data airflow && chown -R evergreen /data airflow
USER evergreen
VOLUME /data
CMD ["python", "-m", "pipelines.serving"]
