"""Sentences for the status line; no window is needed."""

from dataclasses import replace

import pytest

from napari_promptable.annotation.records import ObjectOnSlice, Origin
from napari_promptable.gui.actions import messages
from napari_promptable.propagation.settings import StopReason


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (messages.describe_doubtful(0, "slice"), ""),
        (messages.describe_doubtful(1, "slice"), " 1 slice needs a check (D)."),
        (messages.describe_doubtful(6, "outline"), " 6 outlines need a check (D)."),
    ],
)  # fmt: skip
def test_numbers_and_nouns_agree(sentence, expected) -> None:
    assert sentence == expected


def test_a_doubtful_slice_is_described() -> None:
    hint = "Correct it with clicks, then propagate again."
    low = ObjectOnSlice(None, Origin.PROPAGATED, 0.2)
    assert messages.describe_doubt(83, low) == f"Slice 83: low confidence. {hint}"
    for reason in StopReason:
        sentence = messages.describe_doubt(7, replace(low, stop=str(reason)))
        assert sentence.startswith("Slice 7: propagation stopped here (")
        assert f"({reason})" not in sentence, "in words"
