import io

import numpy as np
import pytest
import torch

from napari_promptable.models.sam2.memory_bank import (
    MAX_POINTERS,
    MAX_PROMPTED_MEMORIES,
    MAX_RECENT_MEMORIES,
    FrameMemory,
    ObjectMemory,
    recollect,
)


def make_memory(frame: int) -> FrameMemory:
    """A frame's memory whose content is the frame's number."""
    features = torch.full((4, 2, 2), float(frame), dtype=torch.bfloat16)
    return FrameMemory(torch.full((8,), float(frame)), features)


def follow(frames: range, *prompted: int) -> ObjectMemory:
    """Memory of an object that was prompted on some frames and followed through others."""
    memory = ObjectMemory()
    for frame in prompted:
        memory = memory.with_prompted(frame, make_memory(frame))
    for frame in frames:
        if frame not in prompted:
            memory = memory.with_followed(frame, make_memory(frame))
    return memory


def test_memory_does_not_grow_with_the_number_of_frames() -> None:
    short, long = follow(range(30), 0), follow(range(500), 0)
    assert long.nbytes == short.nbytes
    assert len(long.followed) == MAX_POINTERS - 1


@pytest.mark.parametrize("is_backward", [False, True])
def test_what_counts_after_many_frames_has_not_been_dropped(is_backward: bool) -> None:
    frames = range(40, -1, -1) if is_backward else range(41)
    next_frame = frames[-1] + frames.step
    memory = follow(frames, frames[0])
    found = recollect(memory, next_frame, 100, is_backward=is_backward)
    distances = [distance for distance, _ in found.features]
    assert distances == list(range(MAX_RECENT_MEMORIES + 1))
    assert [int(values.flatten()[0]) for _, values in found.features] == [
        frames[0],
        *(next_frame - frames.step * distance for distance in distances[1:]),
    ]
    assert [distance for distance, _ in found.pointers] == [41, *range(1, MAX_POINTERS)]


def test_the_way_back_starts_from_what_was_passed_last() -> None:
    memory = follow(range(4, 8), 4)
    found = recollect(memory, 3, 100, is_backward=True)
    assert [distance for distance, _ in found.features] == [0, 2, 3, 4]


def test_only_the_nearest_prompted_frames_count() -> None:
    memory = follow(range(0), *range(0, 100, 5))
    found = recollect(memory, 52, 100, is_backward=False)
    numbers = sorted(int(values.flatten()[0]) for _, values in found.features)
    assert len(numbers) == MAX_PROMPTED_MEMORIES
    assert numbers == [35, 40, 45, 50, 55, 60, 65]


def test_pointers_of_prompts_ahead_do_not_count() -> None:
    memory = follow(range(0), 2, 9)
    forward = recollect(memory, 5, 20, is_backward=False)
    backward = recollect(memory, 5, 20, is_backward=True)
    assert [int(pointer[0]) for _, pointer in forward.pointers] == [2]
    assert [int(pointer[0]) for _, pointer in backward.pointers] == [9]


def test_a_prompt_replaces_what_was_followed() -> None:
    memory = follow(range(6), 0).with_prompted(3, make_memory(30))
    assert 3 not in memory.followed
    assert int(memory.prompted[3].pointer[0]) == 30


def test_values_stay_as_they_were() -> None:
    before = follow(range(3), 0)
    after = before.with_followed(3, make_memory(3))
    assert sorted(before.followed) == [1, 2]
    assert sorted(after.followed) == [1, 2, 3]


def test_memory_survives_a_file() -> None:
    memory = follow(range(12), 0, 5)
    file = io.BytesIO()
    np.savez(file, **memory.to_arrays())
    file.seek(0)
    with np.load(file) as arrays:
        loaded = ObjectMemory.from_arrays(dict(arrays))
    for kind in ("prompted", "followed"):
        expected, found = getattr(memory, kind), getattr(loaded, kind)
        assert list(found) == list(expected)
        for frame, old in expected.items():
            assert torch.equal(found[frame].pointer, old.pointer)
            assert (found[frame].features is None) == (old.features is None)
            if old.features is not None:
                assert torch.equal(found[frame].features, old.features)
