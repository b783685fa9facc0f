"""Loading a model in a fresh process: seconds after torch was imported, and peak memory.

    python -m benchmarks.loading tiny
    python -m benchmarks.loading vit_b [--reference]

The weights of SAM's networks are random; they are written to a temporary file that is read in
another process, as the official files are. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.measure import measure_memory

MB = 2**20


def load(source: str, architecture: str | None, reference: bool) -> dict[str, float]:
    """Load in this process."""
    from napari_promptable.predict.load_model import load_model
    from tests.parity.reference import import_reference

    if reference:
        builders = import_reference("segment_anything").sam_model_registry
    start = time.perf_counter()

    def task() -> None:
        if reference:
            builders[architecture](checkpoint=source)
        else:
            load_model(source, architecture=architecture, device="cpu")

    peak = measure_memory(task)
    return {"seconds": time.perf_counter() - start, "peak_mb": peak}


def write_random_weights(architecture: str, path: Path) -> None:
    """Write a file in the layout of the official ones."""
    from tests.parity.reference import import_reference

    model = import_reference("segment_anything").sam_model_registry[architecture]()
    torch.save(model.state_dict(), path)


def load_in_new_process(name: str, reference: bool) -> dict[str, float]:
    """Load in a process that did nothing else, from a file of random weights if it is SAM's."""
    with tempfile.TemporaryDirectory() as folder:
        source = name
        options = ["--here"]
        size = 0.0
        if name != "tiny":
            path = Path(folder) / f"{name}.pth"
            write_random_weights(name, path)
            source, size = str(path), path.stat().st_size / MB
            options += ["--architecture", name]
        options += ["--reference"] * reference
        command = [sys.executable, "-m", "benchmarks.loading", source, *options]
        output = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(output.stdout.splitlines()[-1])
    return result | {"file_mb": size}


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="tiny, or one of SAM's architectures")
    parser.add_argument("--reference", action="store_true", help="with the reference's code")
    parser.add_argument("--here", action="store_true", help="in this process, from a path")
    parser.add_argument("--architecture", help="of the file")
    arguments = parser.parse_args()
    if arguments.here:
        result = load(arguments.model, arguments.architecture, arguments.reference)
    else:
        result = load_in_new_process(arguments.model, arguments.reference)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
