import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_store_survives_kills_and_a_full_disk(tmp_path) -> None:
    script = Path(__file__).with_name("killed_embedding.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "60 kills" in done.stdout
