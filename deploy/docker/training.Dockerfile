# Trains, watches, tunes, reports; and, with other commands, runs MLflow's and ZenML's servers and Evidently's pages,
# so that clients and servers are of one lock.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS packages
RUN python -m venv /opt/venv && pip install --quiet --no-cache-dir --disable-pip-version-check uv==0.13.8
COPY requirements/training.txt /tmp/lock.txt
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_LINK_MODE=copy VIRTUAL_ENV=/opt/venv uv pip install --quiet --require-hashes --compile-bytecode -r /tmp/lock.txt

FROM ${PYTHON_IMAGE}
# /var/lib/ratchet: the home. /var/lib/s3: what an empty volume of the object store takes its owner from.
RUN groupadd --gid 10001 mluser && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mluser \
 && install -d -o mluser -g mluser -m 0750 /var/lib/ratchet /var/lib/zenml /var/lib/s3
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY deploy/docker/healthy.py /usr/local/bin/healthy
COPY deploy/docker/bucket.py /usr/local/bin/bucket
COPY .dvc/config .dvc/config
COPY run.py dvc.yaml dvc.lock ./
COPY commands commands
COPY ratchet ratchet
COPY steps steps
COPY pipelines pipelines
COPY simulation simulation
COPY data data
COPY configs configs
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash run.py commands ratchet steps pipelines simulation
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    RATCHET_HOME=/var/lib/ratchet RATCHET_MODELS_DIR=/var/lib/ratchet/models RATCHET_DATA_DIR=/var/lib/ratchet/data
# Last, so that another commit with the same packages and code builds nothing again.
ARG GIT_COMMIT=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="ratchet-training" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${GIT_COMMIT}"
ENV RATCHET_COMMIT=${GIT_COMMIT}
USER 10001:10001
CMD ["python", "run.py", "--config", "baseline.yaml"]
