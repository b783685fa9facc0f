"""Carry objects through a volume, slice by slice, from the slices on which they were prompted.

A prompted slice is an *anchor*. The slices between two anchors, or beyond an outer one, are a
*gap*. In a gap, a *chain* runs from slice to slice away from its anchor until it reaches the
other end of the gap, or until a rule finds that the object is no longer the same. Between two
anchors one chain comes from each side, and the two are blended by distance.

Objects do not depend on each other, unless `max_overlap` makes them: an object's masks in a gap
are a function of the anchors at its ends. A changed anchor changes only the gaps beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from napari_promptable.errors import PromptError
from napari_promptable.masks import BoolArray, PackedMask, blend_masks, mask_iou
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.progress import IsCancelled, Progress, check_cancelled
from napari_promptable.propagation.gaps import Gap, find_gaps, slices_in_range
from napari_promptable.propagation.settings import (
    DEFAULT_SETTINGS,
    Direction,
    PropagationSettings,
    StopReason,
)
from napari_promptable.propagation.step import Sighting, Step, find_stop

Embed = Callable[[int], ImageEmbedding]
"""Returns the embedding of a slice."""

Anchors = Mapping[int, Mapping[int, Sighting]]
"""Answers to prompts by object id and slice."""


@dataclass(frozen=True, eq=False)
class PropagatedMask:
    """The outcome for one object on one slice.

    Attributes
    ----------
    object_id : int
        The object.
    position : int
        The slice.
    packed : PackedMask
        The mask; empty if the object is absent.
    predicted_iou, stability : float
        See `Sighting`; for two blended masks, the mean by distance.
    agreement : float
        Product of the IoUs of neighbouring masks from the anchor to here; for two blended
        masks, the IoU of one with the other; 1 on an anchor.
    stop : StopReason or None
        Why a chain ended on this slice. The mask is empty then, unless the chain from the
        other side found one.
    is_anchor : bool
        Whether the user prompted this slice.
    """

    object_id: int
    position: int
    packed: PackedMask
    predicted_iou: float
    stability: float
    agreement: float
    stop: StopReason | None = None
    is_anchor: bool = False

    @property
    def mask(self) -> BoolArray:
        """The mask in image pixels, ndarray of bool, shape (H, W)."""
        return self.packed.unpack()

    @property
    def is_present(self) -> bool:
        """Whether the object is on this slice."""
        return not self.packed.is_empty

    @property
    def confidence(self) -> float:
        """How good the mask probably is, 0 to 1, or NaN if the object is absent.

        The geometric mean of predicted IoU, stability and agreement: it ranks masks most like
        the true IoU does.
        """
        if not self.is_present:
            return nan
        return float(np.cbrt(max(0.0, self.predicted_iou) * self.stability * self.agreement))


@dataclass(frozen=True, eq=False)
class _Chain:
    """An object on its way through a gap.

    Attributes
    ----------
    gap : Gap
        The gap to fill.
    first, previous : Sighting
        On the anchor and on the slice before.
    agreement : float
        See `PropagatedMask`, up to the slice before.
    """

    gap: Gap
    first: Sighting
    previous: Sighting
    agreement: float = 1.0


def propagate_masks(
    step: Step,
    embed: Embed,
    length: int,
    anchors: Anchors,
    settings: PropagationSettings = DEFAULT_SETTINGS,
    *,
    changed: Mapping[int, Collection[int]] | None = None,
    is_cancelled: IsCancelled | None = None,
    progress: Progress | None = None,
) -> Iterator[PropagatedMask]:
    """Carry objects from their anchors through a volume.

    Parameters
    ----------
    step : Step
        Moves objects from slice to slice.
    embed : callable
        Given a slice, returns its embedding. It is called only for slices that a chain
        reaches, once per direction.
    length : int
        Number of slices.
    anchors : dict of int to dict of int to Sighting
        Answers to prompts by object id and slice, from `Step.begin`. An empty mask states that
        the object is absent: no chain starts from it or passes it.
    settings : PropagationSettings, optional
        Range and stop rules.
    changed : dict of int to collection of int, optional
        As in `find_gaps`: fill only the gaps that depend on these slices.
    is_cancelled : callable, optional
        Polled before each slice; True stops the work.
    progress : callable, optional
        Called with the numbers of finished and of all slices, counting each direction.

    Yields
    ------
    PropagatedMask
        First the anchors, then all objects slice by slice, forwards, then backwards. A slice
        between two anchors comes twice; the later value counts. The last value of a chain says
        why it ended; there is none for the slices beyond.

    Raises
    ------
    PromptError
        If the range lies outside the volume, or an object has no anchor in it.
    CancelledError
        If `is_cancelled` returned True; values yielded before remain valid.
    """
    slices = slices_in_range(length, settings)
    inner = {
        object_id: {position: at[position] for position in sorted(at) if position in slices}
        for object_id, at in anchors.items()
    }
    for object_id, at in inner.items():
        if not at:
            raise PromptError(
                f"object {object_id} has no prompts on slices {slices[0]} to {slices[-1]}; "
                "prompt it there, or widen the range"
            )
        for position, sighting in at.items():
            yield _to_value(object_id, position, sighting, 1.0, is_anchor=True)
    gaps = find_gaps(inner, length, settings, changed)
    forward, backward = (_Sweep(towards, gaps, inner, settings) for towards in (True, False))
    counter = _SliceCounter(len(forward.slices) + len(backward.slices), is_cancelled, progress)
    waiting: dict[tuple[int, int], PropagatedMask] = {}
    for gap, value in forward.run(step, embed, counter):
        if gap.after is not None:
            waiting[value.object_id, value.position] = value
        yield value
    for gap, value in backward.run(step, embed, counter):
        other = waiting.pop((value.object_id, value.position), None)
        if other is not None:
            value = _join(other, value, gap.share_of_after(value.position))
        yield value


class _SliceCounter:
    """Counts slices, and stops the work on request."""

    def __init__(
        self,
        total: int,
        is_cancelled: IsCancelled | None,
        progress: Progress | None,
    ) -> None:
        self._done, self._total = 0, total
        self._is_cancelled, self._progress = is_cancelled, progress

    def begin_slice(self) -> None:
        """Raise CancelledError if the work was cancelled."""
        check_cancelled(self._is_cancelled, "propagation")

    def end_slice(self) -> None:
        """Count a slice."""
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


class _Sweep:
    """All chains of one direction, which move from slice to slice together.

    Parameters
    ----------
    is_forward : bool
        Towards higher slices.
    gaps : sequence of Gap
        All gaps; the sweep skips the ones without an anchor on the side that it comes from.
    anchors : Anchors
        Where chains start.
    settings : PropagationSettings
        Direction and stop rules.
    """

    def __init__(
        self,
        is_forward: bool,
        gaps: Sequence[Gap],
        anchors: Anchors,
        settings: PropagationSettings,
    ) -> None:
        opposite = Direction.BACKWARD if is_forward else Direction.FORWARD
        self._is_forward = is_forward
        self._anchors, self._settings = anchors, settings
        self._starts: dict[int, list[_Chain]] = {}
        slices: set[int] = set()
        for gap in gaps:
            start = gap.before if is_forward else gap.after
            if start is None or settings.direction == opposite:
                continue
            anchor = anchors[gap.object_id][start]
            if not anchor.mask.any():
                continue
            first_slice = gap.slices[0] if is_forward else gap.slices[-1]
            self._starts.setdefault(first_slice, []).append(_Chain(gap, anchor, anchor))
            slices.update(gap.slices)
        self.slices = sorted(slices, reverse=not is_forward)

    def run(
        self, step: Step, embed: Embed, counter: _SliceCounter
    ) -> Iterator[tuple[Gap, PropagatedMask]]:
        """Move through the slices. Yields each value with its gap."""
        chains: list[_Chain] = []
        for position in self.slices:
            counter.begin_slice()
            chains = [chain for chain in chains if position in chain.gap.slices]
            chains += [self._depart(step, chain) for chain in self._starts.get(position, [])]
            alive = []
            if chains:
                values = self._advance(step, embed(position), position, chains)
                for chain, sighting, value in values:
                    if value.stop is None:
                        alive.append(
                            replace(chain, previous=sighting, agreement=value.agreement)
                        )
                    yield chain.gap, value
            chains = alive
            counter.end_slice()

    def _depart(self, step: Step, chain: _Chain) -> _Chain:
        """Let the step look at both ends of a gap before a chain sets out."""
        gap, anchors = chain.gap, self._anchors[chain.gap.object_id]
        end = gap.after if self._is_forward else gap.before
        other, distance = None, 0
        if gap.before is not None and gap.after is not None and end is not None:
            distance = gap.after - gap.before
            other = anchors[end] if anchors[end].mask.any() else None
        return replace(chain, previous=step.depart(chain.previous, other, distance))

    def _advance(
        self,
        step: Step,
        embedding: ImageEmbedding,
        position: int,
        chains: Sequence[_Chain],
    ) -> list[tuple[_Chain, Sighting, PropagatedMask]]:
        """Move all chains to a slice and apply the stop rules."""
        settings = self._settings
        sightings = step.advance(embedding, [chain.previous for chain in chains])
        values = []
        for chain, sighting in zip(chains, sightings, strict=True):
            agreement = chain.agreement * mask_iou(sighting.mask, chain.previous.mask)
            stop = find_stop(sighting, chain.previous, chain.first, settings)
            values.append(_to_value(chain.gap.object_id, position, sighting, agreement, stop))
        if settings.max_overlap < 1:
            taken = [at[position].mask for at in self._anchors.values() if position in at]
            values = _stop_touching(values, taken, settings.max_overlap)
        return list(zip(chains, sightings, values, strict=True))


def _stop_touching(
    values: Sequence[PropagatedMask], taken: Sequence[BoolArray], max_overlap: float
) -> list[PropagatedMask]:
    """Stop objects that are covered by more confident ones, or by the `taken` masks."""
    present = [i for i, value in enumerate(values) if value.is_present]
    covered = np.logical_or.reduce([np.zeros(values[0].packed.shape, bool), *taken])
    result = list(values)
    for i in sorted(present, key=lambda i: values[i].confidence, reverse=True):
        mask = values[i].mask
        if np.count_nonzero(mask & covered) > max_overlap * np.count_nonzero(mask):
            result[i] = _without_mask(values[i], StopReason.TOUCHING)
        else:
            covered |= mask
    return result


def _to_value(
    object_id: int,
    position: int,
    sighting: Sighting,
    agreement: float,
    stop: StopReason | None = None,
    is_anchor: bool = False,
) -> PropagatedMask:
    """Describe a sighting. A chain that stops has no mask there."""
    value = PropagatedMask(
        object_id,
        position,
        PackedMask.pack(sighting.mask),
        sighting.predicted_iou,
        sighting.stability,
        agreement,
        is_anchor=is_anchor,
    )
    return value if stop is None else _without_mask(value, stop)


def _without_mask(value: PropagatedMask, stop: StopReason) -> PropagatedMask:
    """State that the object is absent, and why."""
    nothing = PackedMask(value.packed.shape, None, np.empty(0, np.uint8))
    return replace(value, packed=nothing, stop=stop)


def _join(forward: PropagatedMask, backward: PropagatedMask, share: float) -> PropagatedMask:
    """Join the values of both directions.

    Parameters
    ----------
    forward, backward : PropagatedMask
        Of one object on one slice.
    share : float
        Weight of `backward`.
    """
    if not forward.is_present:
        return replace(backward, stop=backward.stop or forward.stop)
    if not backward.is_present:
        return replace(forward, stop=backward.stop)
    first, second = forward.mask, backward.mask
    blend = blend_masks(first, second, share)
    if not blend.any():  # far apart: take the nearer anchor or, at equal distance, the surer
        is_nearer = (1 - share, forward.predicted_iou) >= (share, backward.predicted_iou)
        blend = first if is_nearer else second

    def mean(name: str) -> float:
        return float((1 - share) * getattr(forward, name) + share * getattr(backward, name))

    return replace(
        forward,
        packed=PackedMask.pack(blend),
        predicted_iou=mean("predicted_iou"),
        stability=mean("stability"),
        agreement=mask_iou(first, second),
    )
