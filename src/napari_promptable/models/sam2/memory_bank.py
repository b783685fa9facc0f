"""What SAM 2 remembers of an object, and which of it counts on a frame.

Source: "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714, section 4 (memory
bank) and appendix D.1. A frame is a slice of a stack or a point in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAX_RECENT_MEMORIES = 6  # frames before this one whose spatial memory counts
MAX_POINTERS = 16  # of frames before this one, and this one itself
MAX_PROMPTED_MEMORIES = 7  # the nearest prompted frames, each with its spatial memory


@dataclass(frozen=True, eq=False)
class FrameMemory:
    """An object on one frame.

    Attributes
    ----------
    pointer : Tensor of float32, shape (C,)
        What the object is.
    features : Tensor of bfloat16, shape (D, rows, columns), or None
        Where it is; None if only the pointer is kept.
    """

    pointer: Tensor
    features: Tensor | None


@dataclass(frozen=True, eq=False)
class ObjectMemory:
    """One object on several frames.

    Attributes
    ----------
    prompted : mapping of int to FrameMemory
        By frame, where the user prompted the object.
    followed : mapping of int to FrameMemory
        By frame, where the model found the object without prompts.

    Notes
    -----
    The value is bounded: `with_followed` drops memories that no later frame will use.
    """

    prompted: Mapping[int, FrameMemory] = field(default_factory=dict)
    followed: Mapping[int, FrameMemory] = field(default_factory=dict)

    def with_prompted(self, frame: int, memory: FrameMemory) -> ObjectMemory:
        """Add a prompted frame, in place of a mask that the model found there."""
        followed = {t: old for t, old in self.followed.items() if t != frame}
        return ObjectMemory({**self.prompted, frame: memory}, followed)

    def with_followed(self, frame: int, memory: FrameMemory) -> ObjectMemory:
        """Add a frame that was followed, and drop what lies too far from it to count."""
        kept = {
            t: old if abs(frame - t) < MAX_RECENT_MEMORIES else replace(old, features=None)
            for t, old in self.followed.items()
            if t != frame and abs(frame - t) < MAX_POINTERS - 1
        }
        return ObjectMemory(self.prompted, {**kept, frame: memory})

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.nbytes for array in self.to_arrays().values())

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Make plain arrays to save or to send, with bfloat16 as int16 of the same bits."""
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        for kind, frames in (("prompted", self.prompted), ("followed", self.followed)):
            for frame, memory in frames.items():
                arrays[f"{kind}/{frame}/pointer"] = memory.pointer.cpu().numpy()
                if memory.features is not None:
                    bits = memory.features.cpu().view(torch.int16)
                    arrays[f"{kind}/{frame}/features"] = bits.numpy()
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> ObjectMemory:
        """Undo `to_arrays`."""
        frames: dict[str, dict[int, FrameMemory]] = {"prompted": {}, "followed": {}}
        for name, pointer in arrays.items():
            kind, frame, part = name.split("/")
            if part != "pointer":
                continue
            bits = arrays.get(f"{kind}/{frame}/features")
            features = None if bits is None else torch.from_numpy(bits).view(torch.bfloat16)
            frames[kind][int(frame)] = FrameMemory(torch.from_numpy(pointer), features)
        return cls(**frames)


@dataclass(frozen=True, eq=False)
class Recollection:
    """What of an object's memory counts on a frame.

    Attributes
    ----------
    features : list of (int, Tensor)
        Distance in frames, 0 for a prompted frame, and spatial memory.
    pointers : list of (int, Tensor)
        Signed distance in frames, positive where the frame lies behind, and pointer.
    max_distance : int
        Unit of the pointers' distances.
    """

    features: list[tuple[int, Tensor]]
    pointers: list[tuple[int, Tensor]]
    max_distance: int


def recollect(
    memory: ObjectMemory, frame: int, num_frames: int, *, is_backward: bool
) -> Recollection:
    """Choose what of an object's memory counts on a frame.

    Parameters
    ----------
    memory : ObjectMemory
        Of the object; at least one frame was prompted.
    frame : int
        Where the object is looked for.
    num_frames : int
        Length of the stack or film.
    is_backward : bool
        Whether frames are gone through towards lower numbers.

    Returns
    -------
    Recollection
        Spatial memories of the nearest prompted frames and of the frames just passed; pointers
        of prompted frames that lie behind and of the frames just passed.
    """
    nearest = nearest_frames(memory.prompted, frame, MAX_PROMPTED_MEMORIES)
    others = {t: old for t, old in memory.prompted.items() if t not in nearest}
    passed = {**others, **memory.followed}
    sign = -1 if is_backward else 1
    features = [(0, memory.prompted[t].features) for t in nearest]
    features += [
        (distance, passed[frame - sign * distance].features)
        for distance in range(1, MAX_RECENT_MEMORIES + 1)
        if frame - sign * distance in passed
    ]
    max_pointers = min(num_frames, MAX_POINTERS)
    pointers = [
        (sign * (frame - t), memory.prompted[t].pointer)
        for t in nearest
        if sign * (frame - t) >= 0
    ]
    pointers += [
        (distance, passed[frame - sign * distance].pointer)
        for distance in range(1, max_pointers)
        if frame - sign * distance in passed
    ]
    kept = [(distance, values) for distance, values in features if values is not None]
    return Recollection(kept, pointers, max_pointers - 1)


def nearest_frames(frames: Mapping[int, object], frame: int, count: int) -> list[int]:
    """Choose up to `count` frames: the nearest at each side, then whatever is nearest."""
    before = [t for t in frames if t < frame]
    after = [t for t in frames if t >= frame]
    chosen = ([max(before)] if before else []) + ([min(after)] if after else [])
    others = sorted((t for t in frames if t not in chosen), key=lambda t: abs(t - frame))
    return [t for t in frames if t in {*chosen, *others[: count - len(chosen)]}]
