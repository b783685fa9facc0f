"""The size to expect of the next object, from the objects that a person has confirmed."""

from __future__ import annotations

from itertools import islice

import numpy as np

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.planes import Index
from napari_promptable.sizes import ExpectedSize, expect_size

_MOST_OBJECTS = 12  # the newest, so that a click reads few pixels


def expect_next_size(session: SegmentationSession) -> ExpectedSize | None:
    """Expect the current object to be as large as others on their slices.

    Parameters
    ----------
    session : SegmentationSession
        Objects count that a person prompted, or said look right; the newest ones only.

    Returns
    -------
    ExpectedSize or None
        None if there are none.
    """
    records, current = session.records, session.prompts.current_object
    confirmed = (
        (object_id, index)
        for object_id in reversed(records.object_ids)
        if object_id != current
        for index, record in records.of(object_id).items()
        if record.is_confirmed
    )
    newest = islice(confirmed, _MOST_OBJECTS)
    return expect_size([_area(session, object_id, index) for object_id, index in newest])


def _area(session: SegmentationSession, object_id: int, index: Index) -> int:
    """Count the pixels of an object on a slice."""
    record = session.records.get(object_id, index)
    assert record is not None
    assert record.extent is not None  # only objects with pixels have records
    region = session.planes.region(index, *record.extent)
    return int(np.count_nonzero(np.asarray(session.labels.array[region]) == object_id))
