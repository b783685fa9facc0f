"""Kill processes that embed at random moments, let others run out of space; check the store.

    python tests/integration/killed_embedding.py FOLDER [--kills 60] [--full 40] [--seed 0]

Each process is forked from this one, which never writes, so starting one takes a millisecond;
killing.py defines a moment.
Exits with an error if a store cannot be opened, an entry is wrong, or work is lost.
"""

import argparse
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import zarr  # noqa: F401  # once, for all processes
from killing import fork, kill_at

from napari_promptable.errors import CacheError
from napari_promptable.predict.embedding_store import EmbeddingStore, embed_planes
from napari_promptable.predict.embeddings import ImageEmbedding, plane_key

NUM_PLANES = 100
FRESH_EVERY = 6  # kills before a new store
MAX_MOMENT = 300  # about ten planes


class QuickEncoder:
    """Makes features that only this plane has."""

    def encode(self, image, contrast_limits=None, *, is_cancelled=None) -> ImageEmbedding:
        size = image.shape[:2]
        features = np.random.default_rng(int(image[0, 0, 0])).normal(size=(64, 16, 16))
        features[0, 0, :2] = image[0, :2, 0]
        return ImageEmbedding(features.astype(np.float32), size, size, "quick", size, size)


def read_plane(index) -> np.ndarray:
    """Two pixels that tell the index, in contrast that stays."""
    plane = np.zeros((4, 200), np.uint8)
    plane[0, :2] = divmod(index[0], 256)[::-1]
    plane[-1, :] = 255
    return plane


def embed(path: Path):
    """Embed all planes that are not there."""
    indices = [(number,) for number in range(NUM_PLANES)]
    store = EmbeddingStore(path)
    return embed_planes(QuickEncoder(), "quick", read_plane, indices, store, (0, 255))


def check(path: Path) -> int:
    """Open a store, compare all entries; how many there are."""
    if not (path / "zarr.json").exists():  # killed before anything was written
        return 0
    store, found = EmbeddingStore(path), 0
    for number in range(NUM_PLANES):
        rgb = np.repeat(read_plane((number,))[..., None], 3, axis=-1)
        embedding = store.get(plane_key(rgb, "quick"), rgb)
        if embedding is not None:
            expected = QuickEncoder().encode(rgb)
            assert np.array_equal(embedding.features, expected.features), number
            found += 1
    assert found == len(store)
    return found


def kill_at_random(folder: Path, num_kills: int, chance: random.Random) -> tuple[int, Path]:
    """Start and kill; count the kills that hit an entry half-written, give the last store."""
    num_torn = before = 0
    path = folder
    for kill in range(num_kills):
        if kill % FRESH_EVERY == 0:
            path, before = folder / f"{kill}.zarr", 0
        num_leftovers = len(list(path.glob(".tmp-*")))
        kill_at(chance.randrange(1, MAX_MOMENT), lambda path=path: list(embed(path)))
        after = check(path)
        assert after >= before, (before, after)
        num_torn += len(list(path.glob(".tmp-*"))) > num_leftovers
        before = after
    return num_torn, path


def run_out_of_space(path: Path, num_times: int, chance: random.Random) -> None:
    """Let writing fail after any number of bytes."""
    import resource  # not on Windows

    def put(limit: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            list(embed(path))
        except CacheError:
            os._exit(3)
        os._exit(4)

    for _ in range(num_times):
        before, leftovers = check(path), sorted(path.glob(".tmp-*"))
        limit = chance.choice([chance.randrange(1000), chance.randrange(64 * 16 * 16 * 4)])
        _, status = os.waitpid(fork(lambda limit=limit: put(limit)), 0)
        assert os.waitstatus_to_exitcode(status) == 3, status
        assert check(path) == before
        assert sorted(path.glob(".tmp-*")) == leftovers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--full", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    num_torn, path = kill_at_random(arguments.folder, arguments.kills, chance)
    os.waitpid(fork(lambda: next(embed(path))), 0)
    run_out_of_space(path, arguments.full, chance)
    before = check(path)
    encoded = [was_encoded for _, was_encoded in embed(path)]
    assert encoded.count(True) == NUM_PLANES - before, "stored planes are not encoded again"
    assert check(path) == NUM_PLANES
    print(f"{arguments.kills} kills, {num_torn} in mid-write; {before} kept, all there now")


if __name__ == "__main__":
    sys.exit(main())
