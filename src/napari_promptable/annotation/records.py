"""Facts about each object on each slice of the labels, and which slices need a check."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import isnan, nan

from psygnal import Signal

from napari_promptable.annotation.patches import Extent
from napari_promptable.masks import BoolArray, PackedMask
from napari_promptable.planes import Index, PlaneAxes

Key = tuple[int, Index]
"""Object id and plane."""

DOUBTFUL_BELOW = 0.55
"""Confidence below which a slice is doubtful. On 24 plant nuclei, each propagated from one
slice, a quarter of the slices are below, among them nine in ten with an IoU under 0.5."""


AUTOMATIC_DOUBTFUL_BELOW = 0.7
"""The same for an object that was found without a prompt."""


class Origin(StrEnum):
    """Where an object's pixels on a slice come from."""

    PROMPTS = "prompts"  #: it has prompts on this slice
    PROPAGATED = "propagated"  #: propagation carried it here from another slice
    AUTOMATIC = "automatic"  #: automatic segmentation found it
    FOUND = "found"  #: the labels held it already


@dataclass(frozen=True)
class ObjectOnSlice:
    """One object on one slice.

    Attributes
    ----------
    extent : (slice, slice) or None
        Rows and columns of its pixels; None where it has none.
    origin : Origin
        Where the pixels come from.
    confidence : float
        0 to 1; NaN if unknown.
    stop : str
        Why its propagation ended here; empty if it did not.
    is_checked : bool
        Whether the user said that it looks right.
    mask : PackedMask or None
        The pixels, as long as the labels do not hold them yet. Comparisons ignore it.
    """

    extent: Extent | None
    origin: Origin
    confidence: float = nan
    stop: str = ""
    is_checked: bool = False
    mask: PackedMask | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of_mask(
        cls,
        mask: BoolArray | PackedMask,
        origin: Origin = Origin.PROMPTS,
        confidence: float = nan,
        stop: str = "",
    ) -> ObjectOnSlice:
        """Describe an object that is still to be written. `mask` is (H, W) or packed."""
        packed = mask if isinstance(mask, PackedMask) else PackedMask.pack(mask)
        return cls(packed.region, origin, confidence, stop, mask=packed)

    @property
    def is_anchor(self) -> bool:
        """Whether the user prompted it on this slice."""
        return self.origin is Origin.PROMPTS

    @property
    def is_confirmed(self) -> bool:
        """Whether the user prompted it on this slice, or said that it looks right."""
        return self.is_anchor or self.is_checked

    @property
    def is_known(self) -> bool:
        """Whether there is a confidence at all."""
        return not isnan(self.confidence)

    @property
    def is_doubtful(self) -> bool:
        """Whether the user should check it."""
        if self.is_confirmed:
            return False
        limit = AUTOMATIC_DOUBTFUL_BELOW if self.origin is Origin.AUTOMATIC else DOUBTFUL_BELOW
        return bool(self.stop) or (self.is_known and self.confidence < limit)


Records = Mapping[Key, ObjectOnSlice | None]
"""None means that the object is not on the plane."""


class ObjectRecords:
    """Records of the objects in the labels.

    Attributes
    ----------
    class_names : dict of int to str
        Names that the user gave to objects, by id.
    changed : psygnal.Signal
        Emits the ids of the objects whose records or names changed.
    """

    changed = Signal(frozenset)

    def __init__(self) -> None:
        self.class_names: dict[int, str] = {}
        self._objects: dict[int, dict[Index, ObjectOnSlice]] = {}

    @property
    def object_ids(self) -> list[int]:
        """Ids of the objects that have pixels, in order."""
        return sorted(self._objects)

    def of(self, object_id: int) -> Mapping[Index, ObjectOnSlice]:
        """Return an object by plane, empty if it has no pixels."""
        return self._objects.get(object_id, {})

    def on(self, index: Index) -> dict[int, ObjectOnSlice]:
        """Return the objects on a plane by id."""
        return {i: planes[index] for i, planes in self._objects.items() if index in planes}

    def get(self, object_id: int, index: Index) -> ObjectOnSlice | None:
        """Return one object on one plane, or None if it is not there."""
        return self.of(object_id).get(index)

    def is_propagated(self, object_id: int, index: Index) -> bool:
        """Whether propagation carried an object to a plane."""
        record = self.get(object_id, index)
        return record is not None and record.origin is Origin.PROPAGATED

    def update(self, records: Records) -> None:
        """Replace records."""
        for (object_id, index), record in records.items():
            planes = self._objects.setdefault(object_id, {})
            if record is None or record.extent is None:
                planes.pop(index, None)
            else:
                planes[index] = record
            if not planes:
                del self._objects[object_id]
        if records:
            self.changed.emit(frozenset(object_id for object_id, _ in records))

    def note_plane(self, index: Index, extents: Mapping[int, Extent]) -> bool:
        """Record which objects a plane of the labels holds.

        Parameters
        ----------
        index : Index
            The plane.
        extents : dict of int to (slice, slice)
            Rows and columns of each object on it.

        Returns
        -------
        bool
            Whether anything differs from the former records.
        """
        former = self.on(index)
        found = {
            i: replace(former.get(i, ObjectOnSlice(None, Origin.FOUND)), extent=extent)
            for i, extent in extents.items()
        }
        changed = [i for i in {**former, **found} if former.get(i) != found.get(i)]
        self.update({(i, index): found.get(i) for i in changed})
        return bool(changed)

    def check(self, object_id: int, index: Index) -> bool:
        """Note that an object looks right on a plane. Returns whether it is there."""
        record = self.get(object_id, index)
        if record is not None:
            self.update({(object_id, index): replace(record, is_checked=True)})
        return record is not None

    def rename_class(self, object_ids: Iterable[int], name: str) -> None:
        """Set the class of objects. An empty name removes it."""
        ids = frozenset(object_ids)
        for object_id in ids:
            if name:
                self.class_names[object_id] = name
            else:
                self.class_names.pop(object_id, None)
        self.changed.emit(ids)


def confirmed_planes(records: ObjectRecords) -> dict[Index, set[int]]:
    """Objects by plane that a person prompted there, or said look right."""
    planes: dict[Index, set[int]] = {}
    for object_id in records.object_ids:
        for index, record in records.of(object_id).items():
            if record.is_confirmed:
                planes.setdefault(index, set()).add(object_id)
    return planes


def next_doubtful(
    slices: Mapping[int, ObjectOnSlice], seen: Collection[int] = ()
) -> int | None:
    """Find the slice that the user should check next.

    Parameters
    ----------
    slices : dict of int to ObjectOnSlice
        One object by slice.
    seen : collection of int
        Slices that the user has seen already.

    Returns
    -------
    int or None
        The most doubtful slice that is not among the seen ones; None if there is none.

    Examples
    --------
    >>> def found(confidence):
    ...     return ObjectOnSlice(None, Origin.PROPAGATED, confidence)
    >>> slices = {3: found(0.2), 4: found(0.9), 5: found(0.5)}
    >>> next_doubtful(slices), next_doubtful(slices, {3}), next_doubtful(slices, {3, 5})
    (3, 5, None)
    """
    doubtful = (
        (found.confidence if found.is_known else 0.0, position)
        for position, found in slices.items()
        if found.is_doubtful and position not in seen
    )
    return min(doubtful, default=(0.0, None))[1]


def nothing_on(
    planes: PlaneAxes, object_id: int, indices: Iterable[Index]
) -> dict[Key, ObjectOnSlice]:
    """Make empty masks of an object on some planes."""
    nothing = ObjectOnSlice.of_mask(PackedMask.empty(planes.plane_shape))
    return {(object_id, index): nothing for index in indices}
