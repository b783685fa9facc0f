import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.embeddings import EmbeddingCache, ImageEmbedding, plane_key
from napari_promptable.tiling import Tile

BYTES = 4 * 2 * 3 * 5


def make_embedding(value: float = 0) -> ImageEmbedding:
    features = np.full((2, 3, 5), value, np.float32)
    return ImageEmbedding(features, (6, 10), (6, 10), "model", (12, 20), (12, 20))


def make_never() -> ImageEmbedding:
    raise AssertionError("it is in the cache")


def test_tiles_and_image_count_as_bytes() -> None:
    image = np.zeros((6, 10, 3), np.uint8)
    embedding = replace(make_embedding(), image=image)
    assert embedding.nbytes == BYTES + 180
    features = embedding.tiles.get_or_make(
        Tile(1, 0, 0), lambda: np.ones((2, 4, 4), np.float32)
    )
    assert embedding.tiles.get_or_make(Tile(1, 0, 0), make_never) is features
    assert embedding.nbytes == BYTES + 180 + 128
    assert make_embedding().nbytes == BYTES  # each has tiles of its own


def test_what_is_held_is_not_made_again() -> None:
    cache = EmbeddingCache()
    first = cache.get_or_make("a", make_embedding)
    assert cache.get_or_make("a", make_never) is first
    assert "a" in cache
    assert "b" not in cache
    assert (len(cache), cache.nbytes) == (1, BYTES)


def test_the_least_recently_used_goes_first() -> None:
    cache = EmbeddingCache(max_bytes=2 * BYTES)
    for key in ("a", "b"):
        cache.get_or_make(key, make_embedding)
    cache.get_or_make("a", make_never)
    cache.get_or_make("c", make_embedding)
    assert [key in cache for key in "abc"] == [True, False, True]


def test_one_is_kept_however_large() -> None:
    cache = EmbeddingCache(max_bytes=0)
    cache.get_or_make("a", make_embedding)
    cache.get_or_make("b", make_embedding)
    assert ("a" in cache, "b" in cache) == (False, True)


def test_a_failure_leaves_the_cache_as_it_was() -> None:
    cache = EmbeddingCache()
    with pytest.raises(AssertionError):
        cache.get_or_make("a", make_never)
    assert (len(cache), "a" in cache) == (0, False)


@given(keys=st.lists(st.integers(0, 5)), capacity=st.integers(1, 4))
def test_the_newest_are_held_up_to_the_bytes_allowed(keys: list[int], capacity: int) -> None:
    cache = EmbeddingCache(max_bytes=capacity * BYTES)
    for key in keys:
        embedding = cache.get_or_make(str(key), lambda key=key: make_embedding(key))
        assert embedding.features[0, 0, 0] == key
        assert cache.nbytes == len(cache) * BYTES <= capacity * BYTES
    newest = list(dict.fromkeys(reversed(keys)))
    assert [str(key) in cache for key in newest] == [i < capacity for i in range(len(newest))]


def test_threads_share_it() -> None:
    cache = EmbeddingCache(max_bytes=3 * BYTES)
    start = threading.Barrier(4)

    def work(seed: int) -> bool:
        start.wait()
        for key in np.random.default_rng(seed).integers(0, 6, 300):
            embedding = cache.get_or_make(str(key), lambda key=key: make_embedding(key))
            if embedding.features[0, 0, 0] != key or cache.nbytes > 3 * BYTES:
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert len(cache) == 3


def test_another_thread_may_ask_while_one_is_made() -> None:
    cache = EmbeddingCache()
    with ThreadPoolExecutor(1) as pool:
        outer = cache.get_or_make(
            "a", lambda: pool.submit(cache.get_or_make, "b", make_embedding).result(timeout=60)
        )
    assert cache.get_or_make("b", make_never) is outer


def test_equal_planes_have_one_key() -> None:
    plane = np.random.default_rng(0).integers(0, 9, (6, 8))
    key = plane_key(plane, (0, 1), "model")
    assert plane_key(plane.copy(), (0, 1), "model") == key
    assert plane_key(np.asfortranarray(plane), (0, 1), "model") == key
    assert plane_key(np.repeat(plane, 2, axis=1)[:, ::2], (0, 1), "model") == key
    limits = (np.float64(0), np.float32(1))
    assert plane_key(plane, limits, "model") == key  # type: ignore[arg-type]


def test_keys_differ_by_all_that_matters() -> None:
    plane = np.arange(48, dtype=np.int32).reshape(6, 8)
    changed = plane.copy()
    changed[-1, -1] += 1
    keys = {
        plane_key(plane, None, "model"),
        plane_key(changed, None, "model"),
        plane_key(plane.view(np.uint32), None, "model"),
        plane_key(plane.view(np.float32), None, "model"),
        plane_key(plane.astype(np.int64), None, "model"),
        plane_key(plane.reshape(8, 6), None, "model"),
        plane_key(plane.reshape(2, 8, 3), None, "model"),
        plane_key(plane.T, None, "model"),
        plane_key(plane, (0, 47), "model"),
        plane_key(plane, (0, 48), "model"),
        plane_key(plane, None, "another model"),
    }
    assert len(keys) == 11
