import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.errors import CacheError
from napari_promptable.predict.embeddings import EmbeddingCache, ImageEmbedding, plane_key
from napari_promptable.predict.tiling import Tile

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
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    key = plane_key(rgb, "model")
    assert plane_key(rgb.copy(), "model") == key
    assert plane_key(np.asfortranarray(rgb), "model") == key
    assert plane_key(np.repeat(rgb, 2, axis=1)[:, ::2], "model") == key


def test_keys_differ_by_all_that_matters() -> None:
    rgb = np.arange(144, dtype=np.uint8).reshape(6, 8, 3)
    changed = rgb.copy()
    changed[-1, -1, -1] += 1
    keys = {
        plane_key(rgb, "model"),
        plane_key(changed, "model"),
        plane_key(rgb.reshape(8, 6, 3), "model"),
        plane_key(rgb.transpose(1, 0, 2), "model"),
        plane_key(rgb[..., ::-1], "model"),
        plane_key(rgb, "another model"),
    }
    assert len(keys) == 6


def test_a_plane_is_encoded_once(fake_segmenter) -> None:
    plane = np.random.default_rng(0).normal(size=(8, 12))
    cache = EmbeddingCache()
    first = cache.embed(fake_segmenter, "fake", plane)
    assert cache.embed(fake_segmenter, "fake", plane.copy()) is first
    assert fake_segmenter.num_encoded == 1
    cache.embed(fake_segmenter, "fake", plane, (0, 1))
    cache.embed(fake_segmenter, "other", plane)
    changed = plane.copy()
    changed[3, 4] *= -1
    cache.embed(fake_segmenter, "fake", changed)
    assert fake_segmenter.num_encoded == 4


def test_what_looks_the_same_to_the_model_is_encoded_once(fake_segmenter) -> None:
    plane = np.random.default_rng(0).integers(0, 256, (8, 12)).astype(np.uint8)
    cache = EmbeddingCache()
    first = cache.embed(fake_segmenter, "fake", plane)
    brighter = 100 + 2 * plane.astype(np.uint16)
    for same in (plane.astype(np.int32), brighter):
        assert cache.embed(fake_segmenter, "fake", same) is first
    assert fake_segmenter.num_encoded == 1


class FullStore:
    """A store that has nothing and takes nothing."""

    def get(self, key, rgb) -> None:
        return None

    def put(self, key, embedding) -> None:
        raise CacheError("the disk is full")

    def get_tile(self, key, tile) -> None:
        return None

    def put_tile(self, key, tile, features) -> None:
        raise CacheError("the disk is full")


def test_a_full_disk_does_not_cost_the_work(fake_segmenter) -> None:
    cache = EmbeddingCache(store=FullStore())
    plane = np.eye(8)
    with pytest.raises(CacheError):
        cache.embed(fake_segmenter, "fake", plane)
    cache.embed(fake_segmenter, "fake", plane)
    assert fake_segmenter.num_encoded == 1


def test_a_full_disk_costs_one_answer_a_plane(fake_segmenter) -> None:
    cache = EmbeddingCache(store=FullStore())
    with pytest.raises(CacheError):
        cache.embed(fake_segmenter, "fake", np.eye(8))
    tiles = cache.embed(fake_segmenter, "fake", np.eye(8)).tiles
    features = make_embedding().features
    with pytest.raises(CacheError):
        tiles.get_or_make(Tile(1, 0, 0), lambda: features)
    assert tiles.get_or_make(Tile(1, 0, 0), make_never) is features
    assert tiles.get_or_make(Tile(1, 0, 128), lambda: features) is features
