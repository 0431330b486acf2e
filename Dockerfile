# Build:  docker build -t detector .          Run: docker run --read-only --tmpfs /tmp -v detector-state:/var/lib/detector \
#             -v ./rules:/etc/detector/rules:ro -e DETECTOR_PROMETHEUS_URL=... -p 9911:9911 detector
# Debian, not Alpine: the CEL wheels are built for glibc (x86-64 and arm64).
FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
RUN python -m venv /opt/detector
COPY requirements.lock ./
RUN /opt/detector/bin/pip install --require-hashes --no-deps -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY detector ./detector
COPY rules ./rules
RUN /opt/detector/bin/pip install --no-deps --no-build-isolation .
# the lock holds the tools of development too: what the daemon does not need goes
COPY deploy/prune.py ./
RUN /opt/detector/bin/python prune.py | xargs /opt/detector/bin/pip uninstall -q -y \
    && /opt/detector/bin/detector --version \
    && rm -rf /opt/detector/lib/python3.11/site-packages/pip*

FROM python:3.11-slim
LABEL org.opencontainers.image.title="detector" \
      org.opencontainers.image.description="One daemon from a Prometheus sample to a delivered page" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 65532 --no-create-home --home-dir /var/lib/detector detector \
    && install -d -o detector -g detector -m 0700 /var/lib/detector \
    && install -d -m 0755 /etc/detector/rules
COPY --from=build /opt/detector /opt/detector
ENV PATH=/opt/detector/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DETECTOR_STATE_DIR=/var/lib/detector \
    DETECTOR_RULES=/etc/detector/rules \
    DETECTOR_LISTEN=0.0.0.0:9911 \
    DETECTOR_LOG_FORMAT=json
WORKDIR /etc/detector
USER 65532:65532
VOLUME /var/lib/detector
EXPOSE 9911
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9911/-/healthy', timeout=4)"]
ENTRYPOINT ["detector"]
CMD ["run"]
