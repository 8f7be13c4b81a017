"""How long `import gradcore` takes, beyond the import of NumPy; each time in a fresh process.

python -m bench.import_time [--store]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from ._record import environment, store

CODE = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import gradcore
print(middle - start, time.perf_counter() - middle)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="processes started")
    parser.add_argument("--store", action="store_true", help="append to bench/results/import_time.csv")
    options = parser.parse_args()
    times = []
    for _ in range(options.rounds + 1):
        out = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
        times.append([float(t) for t in out.split()])
    numpy_s, gradcore_s = (statistics.median(column) for column in zip(*times[1:]))  # the first may compile .pyc files
    print(
        f"import gradcore: {gradcore_s:.3f} s beyond NumPy's own {numpy_s:.3f} s (median of {options.rounds} processes)"
    )
    if options.store:
        row = {**environment(), "numpy_s": round(numpy_s, 4), "gradcore_s": round(gradcore_s, 4)}
        store("import_time", [row])


if __name__ == "__main__":
    main()
