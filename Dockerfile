# docker build --tag gradcore .
# docker run --gpus all gradcore        GPU tests and benchmarks; on a machine without a GPU, the CPU's
# docker run gradcore cpu               the CPU path; see scripts/container_check.sh for the rest
#
# EXTRA=cuda13 builds for CUDA 13; EXTRA=examples leaves CUDA out (a small image for the CPU alone).

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY gradcore gradcore
COPY kernels kernels
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
# The C++ compiler builds fused CPU loops and the emulated CUDA device.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

ARG EXTRA=cuda12
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/gradcore-*.whl)[${EXTRA},test,bench]"

# What runs is the installed wheel: the tests lie here without the package.
RUN useradd --create-home gradcore && install --directory --owner gradcore /gradcore
WORKDIR /gradcore
COPY --chown=gradcore pyproject.toml README.md ./
COPY --chown=gradcore docs docs
COPY --chown=gradcore scripts scripts
COPY --chown=gradcore examples examples
COPY --chown=gradcore bench bench
COPY --chown=gradcore tests tests
USER gradcore

ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility PYTHONUNBUFFERED=1
ENTRYPOINT ["scripts/container_check.sh"]
CMD ["auto"]
