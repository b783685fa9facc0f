"""A process may be killed at any moment; nothing but the last action is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NUM_KILLS = 60

can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


def run_script(name: str, *arguments: object) -> str:
    """Run a script beside this file and return its output."""
    command = [sys.executable, str(Path(__file__).with_name(name)), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@can_fork
def test_labels_and_session_survive_being_killed(tmp_path: Path) -> None:
    counts = json.loads(run_script("killed_sessions.py", tmp_path, NUM_KILLS))
    assert len(counts) == NUM_KILLS
    assert len(set(counts)) > 5, "the moments hardly differ"


@can_fork
def test_a_store_survives_kills_and_a_full_disk(tmp_path: Path) -> None:
    assert "60 kills" in run_script("killed_embedding.py", tmp_path)
