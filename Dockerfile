# SEDP in a container that needs to write nothing but a tmpfs and one volume.
#
#   docker build -t sedp .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     -v sedp:/var/lib/sedp -v ./sedp.yaml:/etc/sedp/sedp.yaml:ro -p 8000:8000 sedp
#
# In the config, store.path is below /var/lib/sedp and daemon.listen is 0.0.0.0:8000, which asks for
# daemon.tls and daemon.auth; with --network host, loopback will do. `docker stop -t 30` leaves time
# to drain: keep it above daemon.drain_delay + daemon.drain.

ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY sedp sedp
COPY stages stages
COPY storage storage
COPY simulator simulator
RUN pip wheel --no-deps --wheel-dir /wheels .
RUN python -m venv /opt/sedp
RUN wheel=$(ls /wheels/sedp-*.whl) \
    && /opt/sedp/bin/pip install --only-binary :all: "${wheel}[grpc,onnx]"

FROM python:${PYTHON}
RUN groupadd --gid 10001 sedp \
    && useradd --uid 10001 --gid sedp --no-create-home --home-dir /nonexistent sedp \
    && install --directory --owner sedp --group sedp --mode 0750 /var/lib/sedp
COPY --from=build /opt/sedp /opt/sedp
# Kernels are compiled for the CPU they meet, once a volume.
ENV PATH=/opt/sedp/bin:$PATH \
    NUMBA_CACHE_DIR=/var/lib/sedp/kernels \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/sedp
VOLUME /var/lib/sedp
EXPOSE 8000 8001 8002
STOPSIGNAL SIGTERM
# Liveness on the admin plane: whoever restarts what is unhealthy must not do so during a drain.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10m --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(os.environ.get('SEDP_HEALTH', 'http://127.0.0.1:8001/v2/health/live'), timeout=2)"]
ENTRYPOINT ["sedp"]
CMD ["serve", "/etc/sedp/sedp.yaml"]
