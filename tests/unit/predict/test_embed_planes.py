import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore, WrapperStore

from napari_promptable.errors import ImageFormatError
from napari_promptable.planes import PlaneAxes
from napari_promptable.predict.embedding_store import EmbeddingStore, embed_planes
from napari_promptable.predict.embeddings import plane_key
from napari_promptable.transforms import to_rgb8

STACK = np.random.default_rng(0).integers(0, 4000, (4, 8, 12)).astype(np.uint16)
INDICES = [(2,), (0,), (1,), (3,)]


@pytest.fixture
def store(tmp_path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "cache.zarr")


def embed(segmenter, store, indices=INDICES, stack=STACK):
    return embed_planes(segmenter, "fake", lambda index: stack[index], indices, store)


def test_planes_are_encoded_in_the_order_wanted(fake_segmenter, store) -> None:
    assert list(embed(fake_segmenter, store)) == [(index, True) for index in INDICES]
    for index in INDICES:
        rgb = to_rgb8(STACK[index])
        found = store.get(plane_key(rgb, "fake"), rgb)
        assert np.array_equal(found.features, fake_segmenter.encode(rgb).features)


def test_what_is_there_is_not_encoded_again(make_fake_segmenter, store) -> None:
    first = embed(make_fake_segmenter(), store)
    next(first), next(first)
    first.close()  # cancelled
    assert len(store) == 2
    segmenter = make_fake_segmenter()
    assert [was_encoded for _, was_encoded in embed(segmenter, store)] == [False] * 2 + [
        True
    ] * 2
    assert segmenter.num_encoded == 2
    changed = STACK.copy()
    changed[1, 3, 4] = 5000
    assert [e for _, e in embed(segmenter, store, stack=changed)] == [False, False, True, False]


def test_an_unusable_plane_keeps_what_is_done(fake_segmenter, store) -> None:
    stack = STACK.astype(float)
    stack[1] = np.nan
    with pytest.raises(ImageFormatError, match="no finite pixel"):
        list(embed(fake_segmenter, store, stack=stack))
    assert len(store) == 2


class CountingStore(WrapperStore):
    """Notes which chunks are read."""

    def __init__(self, store) -> None:
        super().__init__(store)
        self.chunks: list[str] = []

    async def get(self, key, *args, **kwargs):
        if "c/" in key:
            self.chunks.append(key)
        return await super().get(key, *args, **kwargs)


def test_only_the_chunks_of_a_plane_are_read(fake_segmenter, store) -> None:
    memory = MemoryStore()
    zarr.create_array(memory, data=np.tile(STACK, (1, 2, 2)), chunks=(2, 8, 12))
    counting = CountingStore(memory)
    image = zarr.open_array(counting, mode="r+")
    planes = PlaneAxes.of_image(image.shape)
    next(
        embed_planes(
            fake_segmenter, "fake", lambda index: image[planes.region(index)], [(3,)], store
        )
    )
    assert sorted(counting.chunks) == ["c/1/0/0", "c/1/0/1", "c/1/1/0", "c/1/1/1"]
