"""SAM 2.1 on stacks: our memory carries objects as the reference's video predictor does."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_promptable.models.layers import fold_patches
from napari_promptable.models.sam2.memory_bank import (
    MAX_PROMPTED_MEMORIES,
    ObjectMemory,
    nearest_frames,
    recollect,
)
from napari_promptable.models.sam2.tracking import (
    FramePrompts,
    TrackedObject,
    follow_object,
    prompt_object,
    show_object,
)
from tests.parity.reference_sam2 import import_sam2

NUM_FRAMES = 10
TOLERANCE = 1e-3

CLICK = FramePrompts(torch.tensor([[100.0, 120.0]]), torch.tensor([1]))
CLICKS = FramePrompts(torch.tensor([[90.0, 70.0], [30.0, 200.0]]), torch.tensor([1, 0]))
BOX = FramePrompts(torch.tensor([[40.0, 60.0], [180.0, 150.0]]), torch.tensor([2, 3]))
OTHER_CLICK = FramePrompts(torch.tensor([[200.0, 30.0]]), torch.tensor([1]))


class Stack:
    """Frames for both implementations.

    Attributes
    ----------
    frames : list of Tensor
        Our embedding of each frame.
    features : dict of int to (Tensor, dict)
        Each frame and the reference's embedding of it, encoded once for all runs.
    """

    def __init__(
        self, pair: Any, images: Iterable[np.ndarray], is_encoder_shared: bool = False
    ) -> None:
        self.pair = pair
        pixels = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in images])
        with torch.inference_mode():
            self.inputs = pair.ours.normalise(pixels.float())
            self.features = {
                number: (image, pair.reference.forward_image(image))
                for number, image in enumerate(self.inputs.split(1))
            }
            if is_encoder_shared:
                self.frames = [
                    join_levels(*found["backbone_fpn"]) for _, found in self.features.values()
                ]
            else:
                self.frames = [pair.ours.encode(frame[None].float()) for frame in pixels]

    def start_reference(self, **options: bool) -> "ReferenceRun":
        """Begin with the reference's video predictor."""
        return ReferenceRun(self.pair.reference, self.inputs, self.features, **options)


def join_levels(fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
    """Bring the reference's embedding of a frame into our layout."""
    return torch.cat([coarse, fold_patches(middle), fold_patches(fold_patches(fine))], dim=1)


class ReferenceRun:
    """The reference's video predictor on frames that are tensors already."""

    def __init__(
        self,
        predictor: Any,
        inputs: Tensor,
        features: dict[int, tuple[Tensor, dict[str, Any]]],
        corrects_as_prompts: bool = False,
    ) -> None:
        module = import_sam2().sam2_video_predictor
        self.predictor = predictor
        predictor.add_all_frames_to_correct_as_cond = corrects_as_prompts
        with pytest.MonkeyPatch.context() as patch:
            size = inputs.shape[-1]
            patch.setattr(module, "load_video_frames", lambda **_: (inputs, size, size))
            patch.setattr(type(predictor), "_get_image_feature", lambda *_, **__: None)
            self.state = predictor.init_state("frames")  # which would encode the first frame
        self.state["cached_features"] = features

    def prompt(self, frame: int, prompts: FramePrompts, object_id: int = 1) -> None:
        """Give clicks or a box; corners come first."""
        self.predictor.add_new_points_or_box(
            self.state,
            frame,
            object_id,
            points=prompts.points_xy / self.predictor.image_size,
            labels=prompts.point_labels.int(),
            normalize_coords=False,
        )

    def show(self, frame: int, mask: Tensor, object_id: int = 1) -> None:
        """Give a mask."""
        self.predictor.add_new_mask(self.state, frame, object_id, mask)

    def propagate(self, start: int, reverse: bool = False) -> list[int]:
        """Go through the frames from one on; returns those visited."""
        run = self.predictor.propagate_in_video(self.state, start, reverse=reverse)
        return [frame for frame, *_ in run]

    def output(self, frame: int, object_id: int = 1) -> dict[str, Any]:
        """Outputs for one frame."""
        outputs = self.state["output_dict_per_obj"][self.state["obj_id_to_idx"][object_id]]
        for kind in ("cond_frame_outputs", "non_cond_frame_outputs"):
            if frame in outputs[kind]:
                found: dict[str, Any] = outputs[kind][frame]
                return found
        raise KeyError(frame)


class OurRun:
    """Our functions, called as the reference's predictor would."""

    def __init__(self, stack: Stack) -> None:
        self.sam, self.frames = stack.pair.ours, stack.frames
        self.memory = ObjectMemory()
        self.before: dict[int, ObjectMemory] = {}
        self.found: dict[int, TrackedObject] = {}

    def prompt(self, frame: int, prompts: FramePrompts) -> None:
        self._keep_prompted(frame, prompt_object(self.sam, self.frames[frame], prompts))

    def correct(self, frame: int, prompts: FramePrompts) -> None:
        """Prompt a frame that was tracked forward, with the memories from the way there."""
        self.memory = self.before[frame]
        recollection = recollect(self.memory, frame, len(self.frames), is_backward=False)
        earlier = FramePrompts(
            prompts.points_xy, prompts.point_labels, self.found[frame].logits
        )
        answer = prompt_object(self.sam, self.frames[frame], earlier, recollection)
        self._keep_prompted(frame, answer)

    def show(self, frame: int, mask: Tensor) -> None:
        self._keep_prompted(frame, show_object(self.sam, self.frames[frame], mask))

    def _keep_prompted(self, frame: int, answer: TrackedObject) -> None:
        self.found[frame] = answer
        self.memory = self.memory.with_prompted(frame, answer.memory)

    def follow(self, frames: Iterable[int], is_backward: bool = False) -> None:
        """Go through frames; those that were prompted stay."""
        for frame in frames:
            if frame not in self.memory.prompted:
                self.before[frame] = self.memory
                answer = follow_object(
                    self.sam,
                    self.frames[frame],
                    self.memory,
                    frame,
                    len(self.frames),
                    is_backward=is_backward,
                )
                self.found[frame] = answer
                self.memory = self.memory.with_followed(frame, answer.memory)


def check(
    ours: OurRun, reference: ReferenceRun, object_id: int = 1, least_frames: int = 8
) -> None:
    """Compare masks, object scores and memories on all frames."""
    assert len(ours.found) >= least_frames
    for frame, found in ours.found.items():
        expected = reference.output(frame, object_id)
        assert expected["pred_masks"].std() > 0.1 or expected["object_score_logits"] <= 0
        torch.testing.assert_close(
            found.logits, expected["pred_masks"][0, 0], rtol=0, atol=TOLERANCE
        )
        score = expected["object_score_logits"]
        torch.testing.assert_close(found.object_score, float(score), rtol=0, atol=TOLERANCE)
        pointer = expected["obj_ptr"][0]
        torch.testing.assert_close(found.memory.pointer, pointer, rtol=0, atol=TOLERANCE)
        features = expected["maskmem_features"][0]
        difference = (found.memory.features.float() - features.float()).abs()
        assert difference.mean() <= TOLERANCE


@pytest.fixture(scope="module")
def stack(make_sam2_pair: Callable, make_image: Callable) -> Stack:
    """Ten images that change slowly."""
    pair = make_sam2_pair("hiera_tiny")
    first, last = (make_image(256, 256, seed).astype(float) for seed in (0, 1))
    shares = np.linspace(0, 1, NUM_FRAMES)
    images = [((1 - share) * first + share * last).astype(np.uint8) for share in shares]
    return Stack(pair, images)


@pytest.mark.parametrize("prompts", [CLICK, CLICKS, BOX], ids=["click", "clicks", "box"])
def test_forward_from_the_first_frame(prompts: FramePrompts, stack: Stack) -> None:
    reference, ours = stack.start_reference(), OurRun(stack)
    for run in (reference, ours):
        run.prompt(0, prompts)
    ours.follow(reference.propagate(0))
    check(ours, reference)


def test_backward_from_the_last_frame(stack: Stack) -> None:
    reference, ours = stack.start_reference(), OurRun(stack)
    for run in (reference, ours):
        run.prompt(NUM_FRAMES - 1, CLICK)
    ours.follow(reference.propagate(NUM_FRAMES - 1, reverse=True), is_backward=True)
    check(ours, reference)


def test_prompts_on_several_frames_forward_then_backward(stack: Stack) -> None:
    reference, ours = stack.start_reference(), OurRun(stack)
    for run in (reference, ours):
        run.prompt(3, CLICK)
        run.prompt(6, CLICKS)
        run.prompt(8, BOX)
    ours.follow(reference.propagate(3))
    ours.follow(reference.propagate(3, reverse=True), is_backward=True)
    check(ours, reference)


def test_a_mask_is_remembered_as_it_is(stack: Stack) -> None:
    mask = torch.zeros(256, 256, dtype=torch.bool)
    mask[60:150, 80:200] = True
    reference, ours = stack.start_reference(), OurRun(stack)
    for run in (reference, ours):
        run.show(2, mask)
    ours.follow(reference.propagate(2))
    check(ours, reference)


def test_corrections_count_as_prompts(stack: Stack) -> None:
    reference = stack.start_reference(corrects_as_prompts=True)
    ours = OurRun(stack)
    for run in (reference, ours):
        run.prompt(0, CLICK)
    ours.follow(reference.propagate(0))
    reference.prompt(4, CLICKS)
    ours.correct(4, CLICKS)
    ours.follow(reference.propagate(4))
    check(ours, reference)


def test_several_objects_do_not_meet(stack: Stack) -> None:
    reference = stack.start_reference()
    runs = {7: OurRun(stack), 9: OurRun(stack)}
    for object_id, prompts in ((7, CLICK), (9, OTHER_CLICK)):
        reference.prompt(1, prompts, object_id)
        runs[object_id].prompt(1, prompts)
    frames = reference.propagate(1)
    for object_id, ours in runs.items():
        ours.follow(frames)
        check(ours, reference, object_id)


def test_an_absent_object_is_remembered_as_absent(
    make_sam2_pair: Callable, stack: Stack
) -> None:
    head = "pred_obj_score_head.layers.2.bias"
    biases = [
        dict(decoder.named_parameters())[head]
        for decoder in (stack.pair.reference.sam_mask_decoder, stack.pair.ours.mask_decoder)
    ]
    reference, ours = stack.start_reference(), OurRun(stack)
    for run in (reference, ours):
        run.prompt(0, CLICK)
    for bias in biases:
        bias -= 1000
    try:
        ours.follow(reference.propagate(0))
    finally:
        for bias in biases:
            bias += 1000
    check(ours, reference)
    assert all(ours.found[frame].object_score < 0 for frame in range(1, NUM_FRAMES))
    assert all((ours.found[frame].logits < 0).all() for frame in range(1, NUM_FRAMES))


@pytest.mark.parametrize("frame", [0, 4, 12, 30])
def test_the_nearest_prompted_frames_are_the_references(frame: int) -> None:
    select = import_sam2().modeling.sam2_utils.select_closest_cond_frames
    prompted = dict.fromkeys((2, 3, 5, 8, 11, 12, 13, 20, 21, 22, 29))
    expected, _ = select(frame, prompted, MAX_PROMPTED_MEMORIES)
    assert set(nearest_frames(prompted, frame, MAX_PROMPTED_MEMORIES)) == set(expected)


@pytest.mark.slow
def test_full_size(make_sam2_pair: Callable, make_image: Callable) -> None:
    pair = make_sam2_pair("hiera_tiny", is_small=False)
    images = [make_image(1024, 1024, seed) for seed in range(3)]
    full = Stack(pair, images, is_encoder_shared=True)  # test_sam2_image compares the encoders
    reference, ours = full.start_reference(), OurRun(full)
    for run in (reference, ours):
        run.prompt(0, FramePrompts(4 * BOX.points_xy, BOX.point_labels))
    ours.follow(reference.propagate(0))
    check(ours, reference, least_frames=3)
