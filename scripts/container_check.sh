#!/usr/bin/env bash
# What the container image runs (see Dockerfile); works in any checkout or installation as well.
#
#   container_check.sh [auto]     gpu if CUDA can be used, else cpu
#   container_check.sh gpu        scripts/gpu_check.py (docs/gpu.md), the benchmarks, the digits model on the GPU
#   container_check.sh cpu        the digits model on the CPU, by the same script, written for "cuda"
#   container_check.sh tests      the whole test suite; tests that need a GPU are skipped without one
#   container_check.sh COMMAND    anything else, such as `bash` or `python -m gradcore info`
#
# Environment: PYTHON (interpreter), OUT (folder to write into), DEMO_ARGS and BENCH_ARGS (more arguments).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python}
OUT=${OUT:-out}

run() {
    printf '\n==> %s\n' "$*"
    "$@"
}

train() {
    # shellcheck disable=SC2086  # DEMO_ARGS holds several arguments
    run "$PYTHON" examples/train_digits.py --device cuda --out "$OUT" ${DEMO_ARGS:-}
}

mode=${1:-auto}
if [ "$mode" = auto ]; then
    if "$PYTHON" -c 'import sys, gradcore; sys.exit(not gradcore.cuda.is_available())'; then
        mode=gpu
    else
        mode=cpu
        echo "No CUDA device can be used: checking the CPU. For a GPU: docker run --gpus all"
    fi
fi

case "$mode" in
    gpu)
        run "$PYTHON" -m gradcore info
        run "$PYTHON" scripts/gpu_check.py --out "$OUT/gpu_check.json"
        # shellcheck disable=SC2086
        run "$PYTHON" -m bench run --device cuda ${BENCH_ARGS:---targets}
        train
        ;;
    cpu)
        # One BLAS thread, as in the Makefile: more only get into each other's way on matrices this small.
        export GRADCORE_CUDA=cpu OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
        run "$PYTHON" -m gradcore info
        train
        ;;
    tests)
        OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} run "$PYTHON" -m pytest tests -n auto
        ;;
    *)
        exec "$@"
        ;;
esac
