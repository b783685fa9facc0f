import errno
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.errors import CacheError
from napari_promptable.predict.embedding_store import EmbeddingStore
from napari_promptable.predict.embeddings import EmbeddingCache, ImageEmbedding
from napari_promptable.predict.tiling import Tile

BYTES = 4 * 2 * 3 * 5
RGB = np.zeros((6, 10, 3), np.uint8)


def make_embedding(value: float = 0.5) -> ImageEmbedding:
    features = np.moveaxis(np.full((3, 5, 2), value, np.float32), -1, 0)
    features[0, 1] += 0.25
    return ImageEmbedding(features, (6, 10), (7, 11), "model", (12, 20), (11, 19))


@pytest.fixture
def store(tmp_path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "cache.zarr")


def list_files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assert_equal(found: ImageEmbedding | None, expected: ImageEmbedding) -> None:
    assert found is not None
    assert np.array_equal(found.features, expected.features)
    assert found.features.dtype == np.float32
    assert found.features.strides == expected.features.strides  # decoding is as fast
    for name in ("original_size", "input_size", "model_id", "low_res_size", "low_res_valid"):
        assert getattr(found, name) == getattr(expected, name)


def test_what_is_put_in_comes_out(store) -> None:
    store.put("a", make_embedding())
    again = EmbeddingStore(store.path)
    assert_equal(again.get("a", RGB), make_embedding())
    assert again.get("a", RGB).image is None
    assert again.get("b", RGB) is None
    assert ("a" in again, "b" in again, len(again), again.nbytes) == (True, False, 1, BYTES)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_any_features_are_kept(store, value) -> None:
    embedding = make_embedding()
    embedding.features[...] = value
    store.put("a", embedding)
    assert np.array_equal(store.get("a", RGB).features, embedding.features, equal_nan=True)


def test_the_image_is_that_which_the_key_was_made_of(store) -> None:
    store.put("a", replace(make_embedding(), image=RGB + 1))
    found = store.get("a", RGB + 1)
    assert np.array_equal(found.image, RGB + 1)
    assert store.nbytes == BYTES  # it is not written


def test_it_is_a_zarr_group(store) -> None:
    store.put("a", make_embedding())
    group = zarr.open_group(store.path, mode="r")
    assert group.attrs["format"] == "napari-promptable/embeddings"
    array = group["a"]
    assert array.chunks == array.shape == (3, 5, 2)
    assert np.array_equal(np.moveaxis(array[...], -1, 0), make_embedding().features)


def test_what_is_there_is_not_written_again(store) -> None:
    store.put("a", make_embedding(1))
    store.put("a", make_embedding(2))
    assert_equal(store.get("a", RGB), make_embedding(1))


def test_half_the_space(tmp_path) -> None:
    store = EmbeddingStore(tmp_path / "half.zarr", dtype="float16")
    values = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    store.put("a", replace(make_embedding(), features=values))
    assert store.nbytes == BYTES // 2
    assert EmbeddingStore(store.path).dtype == "float16"
    found = store.get("a", RGB).features
    assert found.dtype == np.float32
    assert 0 < np.abs(found - values).max() < 2e-3
    too_large = make_embedding(1e6)
    store.put("b", too_large)
    assert_equal(store.get("b", RGB), too_large)


def test_a_store_keeps_its_dtype(store, tmp_path) -> None:
    with pytest.raises(CacheError, match="float32.*float16"):
        EmbeddingStore(store.path, dtype="float16")
    with pytest.raises(CacheError, match="float8"):
        EmbeddingStore(tmp_path / "new.zarr", dtype="float8")
    assert not (tmp_path / "new.zarr").exists()


# limits


def test_the_least_recently_used_goes_first(tmp_path) -> None:
    store = EmbeddingStore(tmp_path / "cache.zarr", max_bytes=2 * BYTES)
    for age, key in enumerate(["b", "a"]):
        store.put(key, make_embedding())
        os.utime(store.path / key, (100 - age, 100 - age))
    store.get("a", RGB)  # older, but used
    store.put("c", make_embedding())
    assert [key in store for key in "abc"] == [True, False, True]
    assert store.nbytes == 2 * BYTES
    assert not list(store.path.glob(".*"))


def test_a_large_folder_is_not_looked_through_for_each_embedding(tmp_path, monkeypatch) -> None:
    store = EmbeddingStore(tmp_path / "cache.zarr", max_bytes=400 * BYTES)
    looks: list[int] = []
    monkeypatch.setattr(store, "_entries", lambda: looks.append(1) or [])
    for number in range(9):
        store.put(str(number), make_embedding())
    assert len(looks) == 3  # at first, and after each hundredth of the limit


def test_the_newest_is_kept_however_large(tmp_path) -> None:
    store = EmbeddingStore(tmp_path / "cache.zarr", max_bytes=0)
    store.put("a", make_embedding())
    os.utime(store.path / "a", (1, 1))
    store.put("b", make_embedding())
    assert ("a" in store, "b" in store) == (False, True)


# crashes and other programs


def make_foreign(path: Path, kind: str) -> None:
    path.mkdir()
    if kind == "folder":
        (path / "thesis.txt").write_text("chapter 1")
    elif kind == "image":
        zarr.save_array(path, np.zeros((3, 4)))
    elif kind == "group":
        zarr.create_group(path, attributes={"format": "another"})
    elif kind == "no json":
        (path / "zarr.json").write_bytes(b"\xff{")
    elif kind == "list":
        (path / "zarr.json").write_text("[]")
    else:
        attributes = {"format": "napari-promptable/embeddings", "version": 2, "dtype": "x"}
        zarr.create_group(path, attributes=attributes)


@pytest.mark.parametrize("kind", ["folder", "image", "group", "no json", "list", "version"])
def test_what_is_no_store_is_left_alone(kind, tmp_path) -> None:
    path = tmp_path / "other.zarr"
    make_foreign(path, kind)
    before = list_files(path)
    with pytest.raises(CacheError, match="other.zarr"):
        EmbeddingStore(path)
    assert list_files(path) == before


def test_a_file_is_left_alone(tmp_path) -> None:
    path = tmp_path / "file.zarr"
    path.write_text("not a folder")
    for place in (path, path / "inside"):
        with pytest.raises(CacheError, match="file.zarr"):
            EmbeddingStore(place)
    assert path.read_text() == "not a folder"


def test_an_unfinished_store_is_finished(tmp_path) -> None:
    path = tmp_path / "cache.zarr"
    (path / ".tmp-0123").mkdir(parents=True)
    (path / ".tmp-0123" / "zarr.json").write_text("{")
    EmbeddingStore(path).put("a", make_embedding())
    assert len(EmbeddingStore(path)) == 1
    assert (path / ".tmp-0123").exists()  # another process may be writing it


def test_old_leftovers_are_deleted(store) -> None:
    store.put("a", make_embedding())
    for name, age in ((".tmp-old", 1), (".tmp-new", None)):
        shutil.copytree(store.path / "a", store.path / name)
        os.utime(store.path / name, None if age is None else (age, age))
    assert len(EmbeddingStore(store.path)) == 1
    assert sorted(path.name for path in store.path.glob(".*")) == [".tmp-new"]


@pytest.fixture(scope="module")
def entry_files(tmp_path_factory) -> tuple[EmbeddingStore, dict[str, bytes]]:
    store = EmbeddingStore(tmp_path_factory.mktemp("entries") / "cache.zarr")
    store.put("a", make_embedding())
    return store, list_files(store.path / "a")


@given(data=st.data())
def test_a_changed_byte_is_noticed(entry_files, data) -> None:
    store, files = entry_files
    name = data.draw(st.sampled_from(sorted(files)))
    place = data.draw(st.integers(0, len(files[name]) - 1))
    flipped = data.draw(st.integers(1, 255))
    changed = bytearray(files[name])
    changed[place] ^= flipped
    (store.path / "a" / name).write_bytes(changed)
    with pytest.raises(CacheError, match="delete that folder"):
        store.get("a", RGB)
    store.put("a", make_embedding(3))  # does not replace it
    assert (store.path / "a" / name).read_bytes() == changed
    (store.path / "a" / name).write_bytes(files[name])
    assert_equal(store.get("a", RGB), make_embedding())


@given(data=st.data())
def test_a_lost_end_is_noticed(entry_files, data) -> None:
    store, files = entry_files
    name = data.draw(st.sampled_from(sorted(files)))
    path = store.path / "a" / name
    path.write_bytes(files[name][: data.draw(st.integers(0, len(files[name]) - 1))])
    with pytest.raises(CacheError, match="damaged"):
        store.get("a", RGB)
    path.unlink()
    with pytest.raises(CacheError, match="damaged"):
        store.get("a", RGB)
    path.write_bytes(files[name])


@given(data=st.data())
def test_a_changed_byte_of_the_root_leaves_what_is_there(entry_files, data) -> None:
    store, _ = entry_files
    root = store.path / "zarr.json"
    before = root.read_bytes()
    changed = bytearray(before)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    root.write_bytes(changed)
    try:
        opened = EmbeddingStore(store.path)
        assert_equal(opened.get("a", RGB), make_embedding())
    except CacheError:
        pass
    assert root.read_bytes() == changed
    root.write_bytes(before)


@pytest.mark.parametrize("call", ["rename", "fsync", "replace", "mkdir"])
def test_a_full_disk_leaves_the_store_as_it_was(call, store, monkeypatch, tmp_path) -> None:
    store.put("a", make_embedding())
    before = list_files(store.path)

    def fail(*_args, **_kwargs) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path if call == "mkdir" else os, call, fail)
    with pytest.raises(CacheError, match="No space left.*free some space"):
        EmbeddingStore(tmp_path / "new.zarr").put("b", make_embedding())
        store.put("b", make_embedding())
    if call != "replace":
        with pytest.raises(CacheError, match="No space left.*free some space"):
            store.put("b", make_embedding())
    monkeypatch.undo()
    assert list_files(store.path) == before
    store.put("b", make_embedding())
    EmbeddingStore(tmp_path / "new.zarr").put("b", make_embedding())


def test_many_write_at_once(tmp_path) -> None:
    path = tmp_path / "cache.zarr"

    def work(seed: int) -> int:
        store = EmbeddingStore(path, max_bytes=6 * BYTES)
        for key in np.random.default_rng(seed).integers(0, 8, 40):
            store.put(str(key), make_embedding(key))
            found = store.get(str(key), RGB)
            assert found is None or found.features[1, 0, 0] == key
        return len(store)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert 1 <= len(EmbeddingStore(path)) <= 8
    assert not list(path.glob(".*"))


def test_an_entry_that_another_deletes_meanwhile_gives_its_name_free(
    store, monkeypatch
) -> None:
    rename, failures = os.rename, [OSError(errno.ENOTEMPTY, "Directory not empty")]

    def rename_later(source: Path, target: Path) -> None:
        if failures:
            raise failures.pop()
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_later)
    store.put("key", make_embedding(3))
    assert store.get("key", RGB).features[1, 0, 0] == 3


# below the cache


def test_another_process_finds_what_was_encoded(store, fake_segmenter) -> None:
    plane = np.random.default_rng(0).normal(size=(8, 12))
    first = EmbeddingCache(store=store).embed(fake_segmenter, "fake", plane)
    cache = EmbeddingCache(store=EmbeddingStore(store.path))
    found = cache.embed(fake_segmenter, "fake", plane)
    assert np.array_equal(found.features, first.features)
    assert cache.embed(fake_segmenter, "fake", plane) is found
    assert fake_segmenter.num_encoded == 1


def make_never() -> np.ndarray:
    raise AssertionError("it is in the store")


def test_another_process_finds_the_tiles_that_were_encoded(store, fake_segmenter) -> None:
    plane = np.random.default_rng(0).normal(size=(8, 12))
    features = make_embedding().features
    tile = Tile(-1, 0, 128)
    cache = EmbeddingCache()
    first = cache.embed(fake_segmenter, "fake", plane)
    cache.store = store  # switched on later
    assert first.tiles.get_or_make(tile, lambda: features) is features
    again = EmbeddingCache(store=EmbeddingStore(store.path))
    tiles = again.embed(fake_segmenter, "fake", plane).tiles
    assert np.array_equal(tiles.get_or_make(tile, make_never), features)
    assert tiles.get_or_make(tile, make_never).strides == features.strides
    again.store = None  # switched off
    assert tiles.get_or_make(Tile(1, 0, 0), lambda: features) is features
    assert len(store) == 2  # the tile, and the plane for the second process


def test_a_damaged_tile_is_named(store) -> None:
    store.put_tile("a", Tile(2, 0, 128), make_embedding().features)
    assert store.get_tile("a", Tile(2, 128, 0)) is None
    (store.path / "a.2.0.128" / "c/0/0/0").write_bytes(b"")
    with pytest.raises(CacheError, match=r"a\.2\.0\.128 is damaged; delete that folder"):
        store.get_tile("a", Tile(2, 0, 128))


def test_metadata_is_plain(store) -> None:
    store.put("a", make_embedding())
    attributes = json.loads((store.path / "a" / "zarr.json").read_text())["attributes"]
    assert attributes["original_size"] == [6, 10]
    assert attributes["model_id"] == "model"
