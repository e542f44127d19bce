# The operator's image. Pin the base by digest for your own registry:
#   docker build --build-arg BASE=python:3.11-slim@sha256:… -t REGISTRY/unshim:VERSION .
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/unshim
# Dependencies first, each checked against its hash; this layer changes only with the lock file.
# The Kubernetes client's asyncio twin, which nothing here imports, would be a fifth of the image.
COPY requirements.txt .
RUN /opt/unshim/bin/pip install --no-compile --require-hashes --no-deps -r requirements.txt \
 && rm -r /opt/unshim/lib/python3*/site-packages/kubernetes/aio
COPY pyproject.toml README.md ./
COPY crds crds
COPY playbooks playbooks
COPY operator operator
# The import at the end compiles what the operator loads, and only that.
RUN /opt/unshim/bin/pip wheel --no-deps --wheel-dir /dist . \
 && /opt/unshim/bin/pip install --no-compile --no-deps /dist/*.whl \
 && /opt/unshim/bin/pip uninstall --yes pip setuptools \
 && cd / && /opt/unshim/bin/python -c 'import unshim.handlers, unshim.cli.main'

FROM ${BASE}
LABEL org.opencontainers.image.title="unshim" \
      org.opencontainers.image.description="Moves Kubernetes nodes from Docker Engine to containerd" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/unshim/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/unshim /opt/unshim
USER 65532:65532
ENTRYPOINT ["unshim"]
CMD ["run", "--liveness", "http://0.0.0.0:8080/healthz"]
