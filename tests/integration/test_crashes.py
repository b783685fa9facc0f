"""A process may be killed at any moment; nothing but the last action is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_promptable.annotation.session_folder import SessionFolder

pytestmark = pytest.mark.slow

NUM_KILLS = 60

can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


def run_script(name: str, *arguments: object, **variables: object) -> str:
    """Run a script beside this file and return its output."""
    command = [sys.executable, str(Path(__file__).with_name(name)), *map(str, arguments)]
    environment = os.environ | {key: str(value) for key, value in variables.items()}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@can_fork
def test_labels_and_session_survive_being_killed(tmp_path: Path) -> None:
    counts = json.loads(run_script("killed_sessions.py", tmp_path, NUM_KILLS))
    assert len(counts) == NUM_KILLS
    assert len(set(counts)) > 5, "the moments hardly differ"


@can_fork
def test_a_store_survives_kills_and_a_full_disk(tmp_path: Path) -> None:
    assert "60 kills" in run_script("killed_embedding.py", tmp_path)


@pytest.mark.gui
@pytest.mark.parametrize("arguments", [(), ("hidden",)])
def test_a_script_that_ends_with_the_window_open_saves(tmp_path: Path, arguments) -> None:
    run_script("left_open.py", *arguments, NAPARI_PROMPTABLE_CACHE=tmp_path)
    [folder] = (path.parent for path in tmp_path.rglob("prompts.json"))
    [(block, pixels)] = SessionFolder(folder).read_blocks()
    assert block.index == (0,)
    assert pixels[3, 4] == pixels.max() == 7
