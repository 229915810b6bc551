# Serves the version in Production: what that needs, and nothing that trains.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS packages
RUN python -m venv --without-pip /opt/venv && pip install --quiet --no-cache-dir --disable-pip-version-check uv==0.13.8
COPY requirements/serving.txt /tmp/lock.txt
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_LINK_MODE=copy VIRTUAL_ENV=/opt/venv uv pip install --quiet --require-hashes -r /tmp/lock.txt
# The libraries' own tests are a seventh of it. Compiled after that, since the root is read-only when it runs.
RUN find /opt/venv -type d -name tests -prune -exec rm -rf {} + \
 && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 mluser && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mluser \
 && install -d -o mluser -g mluser -m 0750 /var/lib/ratchet
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY deploy/docker/healthy.py /usr/local/bin/healthy
COPY run.py ./
COPY commands commands
COPY ratchet ratchet
COPY serving serving
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash run.py commands ratchet serving
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp BENTOML_HOME=/tmp/bentoml \
    RATCHET_HOME=/var/lib/ratchet
# Last, so that another commit with the same packages and code builds nothing again.
ARG GIT_COMMIT=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="ratchet-serving" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${GIT_COMMIT}"
ENV RATCHET_COMMIT=${GIT_COMMIT}
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=6 \
    CMD ["healthy", "http://127.0.0.1:8000/readyz"]
CMD ["python", "run.py", "serve", "--host", "0.0.0.0"]
