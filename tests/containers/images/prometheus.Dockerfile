# A stand-in for prom/prometheus from Debian's package: the same user, folders and names.
FROM python:3.11-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends prometheus wget \
 && rm -rf /var/lib/apt/lists/* /etc/prometheus && install -d -o 65534 -g 65534 /prometheus
ENTRYPOINT ["prometheus"]
