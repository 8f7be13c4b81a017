"""A process may be killed at any moment: its file is whole, and training goes on from it to the same end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import killed_training
import pytest

import gradcore as gc

ROOT = Path(gc.__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, killed_training.__file__, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["kills"] == killed_training.KILLS and found["whole"] >= found["kills"]
    assert found["within"] >= 5, "too few were killed while they wrote to tell anything"
    assert found["finished"] >= 2 and found["identical"] == found["finished"] + 1
    assert not found["left"]
