"""A process may be killed at any moment; nothing but the last action is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NUM_KILLS = 60


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be forked there")
def test_labels_and_session_survive_being_killed(tmp_path: Path) -> None:
    script = Path(__file__).with_name("crash_sessions.py")
    command = [sys.executable, str(script), str(tmp_path), str(NUM_KILLS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert len(counts) == NUM_KILLS
    assert len(set(counts)) > 5, "the moments hardly differ"
