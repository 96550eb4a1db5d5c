# Two images from one file:
#
#     docker build --target operator -t alignment-operator:dev .     # about 200 MB, no torch
#     docker build --target trainer  -t alignment-trainer:dev .      # CUDA torch, TRL, a C compiler
#
# docker, podman and buildah build it. Versions and hashes come from uv.lock; nothing else decides what is installed.
# The dependencies are one layer, the project's code is a small last one: a change of code moves kilobytes.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS base
# No HOME of its own and no passwd entry is needed: any UID works, with a read-only root and a writable /tmp.
# USER is set because getpass.getuser() (which torch and its compilers call) fails for a UID without a passwd entry.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp/home \
    USER=nonroot
WORKDIR /app

# The lock's answer for each image, as hashed requirements: these, unlike the lock itself, can be installed from any
# index. The fixed date keeps the layers below cached while the requirements stay the same.
FROM base AS requirements
ARG UV_VERSION=0.13.9
ARG PYTHON_INDEX
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --quiet --cert "$SSL_CERT_FILE" \
        ${PYTHON_INDEX:+--index-url "$PYTHON_INDEX"} "uv==${UV_VERSION}"
COPY pyproject.toml uv.lock /src/
# What the trainer is to have beside its own extra: deepspeed, or nothing.
ARG TRAINER_EXTRAS
RUN requirements() { /opt/uv/bin/uv export --project /src --frozen --no-dev --no-emit-project --no-header --no-annotate \
            $(printf -- '--extra %s ' "$@") --output-file "/requirements/$1.txt" --quiet; } \
    && requirements operator \
    && requirements trainer $TRAINER_EXTRAS \
    && touch -d @0 /requirements /requirements/*.txt

FROM base AS operator-deps
COPY --from=requirements /requirements/operator.txt /opt/requirements.txt
ARG UV_VERSION=0.13.9
ARG PYTHON_INDEX
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ARG UV_CACHE_DIR=/var/cache/uv
# uv comes and goes within the layer; bytecode is compiled here, because the root file system is read-only later.
RUN --mount=type=cache,target=/var/cache/uv \
    python3 -m venv /tmp/uv \
    && /tmp/uv/bin/pip install --no-cache-dir --disable-pip-version-check --quiet --cert "$SSL_CERT_FILE" \
        ${PYTHON_INDEX:+--index-url "$PYTHON_INDEX"} "uv==${UV_VERSION}" \
    && python3 -m venv --without-pip /opt/venv \
    && UV_LINK_MODE=copy /tmp/uv/bin/uv pip install --python /opt/venv/bin/python --compile-bytecode --require-hashes \
        ${PYTHON_INDEX:+--index-url "$PYTHON_INDEX"} --requirements /opt/requirements.txt \
    && rm -rf /tmp/uv

FROM base AS trainer-deps
# gcc and g++: Triton and Inductor compile at run time (FlexAttention, TRL's fused head). The Python headers that they
# need are part of the base image.
ARG DEBIAN_MIRROR
RUN if [ -n "$DEBIAN_MIRROR" ]; then \
        find /etc/apt -name '*.list' -o -name '*.sources' | xargs sed -ri "s|https?://[^/ ]+/debian|$DEBIAN_MIRROR|"; fi \
    && apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log
COPY --from=requirements /requirements/trainer.txt /opt/requirements.txt
ARG UV_VERSION=0.13.9
ARG PYTHON_INDEX
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ARG UV_CACHE_DIR=/var/cache/uv
RUN --mount=type=cache,target=/var/cache/uv \
    python3 -m venv /tmp/uv \
    && /tmp/uv/bin/pip install --no-cache-dir --disable-pip-version-check --quiet --cert "$SSL_CERT_FILE" \
        ${PYTHON_INDEX:+--index-url "$PYTHON_INDEX"} "uv==${UV_VERSION}" \
    && python3 -m venv --without-pip /opt/venv \
    && UV_LINK_MODE=copy /tmp/uv/bin/uv pip install --python /opt/venv/bin/python --compile-bytecode --require-hashes \
        ${PYTHON_INDEX:+--index-url "$PYTHON_INDEX"} --requirements /opt/requirements.txt \
    && rm -rf /tmp/uv

FROM operator-deps AS operator
COPY operator/alignment_operator /app/alignment_operator
RUN python -m compileall -q /app
USER 65532:65532
ENTRYPOINT ["python", "-m", "alignment_operator"]

FROM trainer-deps AS trainer
# matplotlib's list of fonts, which every pod would make anew; the trainer copies it to where it can be written to.
RUN MPLCONFIGDIR=/opt/fonts python -c 'import matplotlib.font_manager' && chmod -R a+rX /opt/fonts
# Everything that is written at run time goes below /tmp, /cache or /output.
ENV ALIGNMENT_FONTS=/opt/fonts \
    HF_HOME=/cache/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    TORCHINDUCTOR_CACHE_DIR=/tmp/inductor \
    TRITON_CACHE_DIR=/tmp/triton \
    TOKENIZERS_PARALLELISM=false
COPY trainer/alignment_trainer /app/alignment_trainer
RUN python -m compileall -q /app
USER 65532:65532
ENTRYPOINT ["python", "-m", "alignment_trainer"]
