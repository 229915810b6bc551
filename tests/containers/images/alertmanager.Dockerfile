# A stand-in for prom/alertmanager from Debian's package.
FROM python:3.11-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends prometheus-alertmanager wget \
 && rm -rf /var/lib/apt/lists/* && install -d -o 65534 -g 65534 /alertmanager \
 && ln -s /usr/bin/prometheus-alertmanager /usr/local/bin/alertmanager
ENTRYPOINT ["alertmanager"]
