"""Learning in a process of its own, at low priority, so that clicks stay fast meanwhile.

    python -m napari_promptable.learning.process FOLDER

`write_job` fills the folder. The process prints a line of JSON per step and a last one with the
result, and writes the learned weights if they are better. Ending it at any time harms nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import CacheError, PromptableError

if TYPE_CHECKING:  # imports torch
    from napari_promptable.learning.examples import Example
    from napari_promptable.learning.learned import Learned
    from napari_promptable.predict.embeddings import EmbeddingCache

WEIGHTS_NAME = "learned.safetensors"
_JOB_NAME, _NICENESS = "job.json", 10


def write_job(
    folder: Path,
    model: str,
    examples: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]],
    settings: dict[str, Any],
    source: str,
) -> None:
    """Write what the process needs.

    Parameters
    ----------
    folder : Path
        An existing folder.
    model : str
        Registry name or weights file of the model to start from.
    examples : sequence of (image, labels)
        As in `learn`.
    settings : dict
        Keywords of `LearningSettings`.
    source : str
        Where the objects come from, in words.

    Raises
    ------
    CacheError
        If the folder cannot be written.
    """
    job = {"model": model, "settings": settings, "source": source, "examples": len(examples)}
    try:
        (folder / _JOB_NAME).write_text(json.dumps(job), encoding="utf-8")
        for number, (image, labels) in enumerate(examples):
            np.save(folder / f"{number}_image.npy", image, allow_pickle=False)
            np.save(folder / f"{number}_labels.npy", labels, allow_pickle=False)
    except OSError as error:
        raise refuse_to_begin(str(folder), error) from error


def refuse_to_begin(folder: str, error: OSError) -> CacheError:
    """Make the error of a folder that cannot hold a job."""
    return CacheError(
        f"learning cannot begin: {folder} cannot be written ({error.strerror or error}); "
        "free some space"
    )


def run_job(folder: Path) -> dict[str, Any]:
    """Learn, print the progress, and describe the result as plain data."""
    from napari_promptable.learning.learn import learn
    from napari_promptable.learning.settings import LearningSettings
    from napari_promptable.predict.load_model import load_model

    job = json.loads((folder / _JOB_NAME).read_text(encoding="utf-8"))
    examples = [
        (np.load(folder / f"{n}_image.npy"), np.load(folder / f"{n}_labels.npy"))
        for n in range(job["examples"])
    ]
    cache = open_cache()
    learned = learn(
        load_model(job["model"], device="cpu"),
        examples,
        LearningSettings(**job["settings"]),
        lambda state: print(json.dumps({"state": asdict(state)}), flush=True),  # noqa: T201
        source=job["source"],
        cache=cache,
    )
    if learned.is_better:
        learned.save(folder / WEIGHTS_NAME)
    before, after = learned.figures()
    return {
        "name": learned.model.name,
        "is_better": learned.is_better,
        "before": before,
        "after": after,
        "automatic": learned.found and learned.found[0].title,
        "seconds": learned.seconds,
        "worst": _write_worst(folder, learned, examples, cache),
    }


def open_cache() -> EmbeddingCache:
    """Make a cache that reads the embeddings that the widget keeps, if it keeps any."""
    from napari_promptable.predict.embedding_store import EmbeddingStore, kept_embeddings_path
    from napari_promptable.predict.embeddings import EmbeddingCache

    path = kept_embeddings_path()
    return EmbeddingCache(store=EmbeddingStore(path) if path.is_dir() else None)


def _write_worst(
    folder: Path, learned: Learned, examples: Sequence[Example], cache: EmbeddingCache
) -> list[tuple[str, str]]:
    """Write pictures of the worst objects, and return their paths and what they show."""
    from napari_promptable.files.writing import write_png
    from napari_promptable.learning.examples import read_examples
    from napari_promptable.learning.figures import encode_rgb8
    from napari_promptable.learning.planes import SharedEmbeddings
    from napari_promptable.learning.worst import draw_worst

    sees_whole_planes = learned.parent.sam.tile_size is None
    embed = SharedEmbeddings(learned.parent, cache) if sees_whole_planes else encode_rgb8
    read = read_examples(examples, learned.settings.is_complete)
    written = []
    for number, worst in enumerate(draw_worst(learned, read, embed)):
        path = folder / f"worst_{number}.png"
        write_png(path, worst.picture)
        written.append((str(path), worst.text))
    return written


def main() -> int:
    """Run the job of the folder on the command line, and return the exit code."""
    with contextlib.suppress(AttributeError, OSError):  # there is no niceness on Windows
        os.nice(_NICENESS)
    last: dict[str, Any]
    try:
        last = {"result": run_job(Path(sys.argv[1]))}
    except PromptableError as error:
        last = {"error": str(error)}
    print(json.dumps(last), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
