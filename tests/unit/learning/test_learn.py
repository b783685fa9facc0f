"""Learning on drawn disks, with few steps and a small time that a counting clock tells."""

import copy
import re
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import safetensors.torch
import torch

from napari_promptable.errors import CancelledError, CheckpointError, LabelError, LearningError
from napari_promptable.learning import clocks
from napari_promptable.learning import learn as learn_module
from napari_promptable.learning.examples import hold_out, read_examples
from napari_promptable.learning.figures import Figures, ObjectFigures
from napari_promptable.learning.forgetting import Memory
from napari_promptable.learning.found import measure_found
from napari_promptable.learning.learn import choose_step, learn, name_learned
from napari_promptable.learning.learned import Learned
from napari_promptable.learning.learner import PATIENCE, Schedule, is_flat
from napari_promptable.learning.network import Parent, open_parent
from napari_promptable.learning.settings import LearningSettings, TrainedPart
from napari_promptable.predict.load_model import load_model
from napari_promptable.prompts import PromptSet

FEW_STEPS = LearningSettings(minutes=600, max_steps=1)

pytestmark = pytest.mark.usefixtures("quick_learning")


def make_disks(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image of disks in a row, and its labels."""
    rows, columns = np.indices((64, 48 * number))
    labels = np.zeros(rows.shape, np.int32)
    for disk in range(number):
        labels[np.hypot(rows - 32, columns - 24 - 48 * disk) < 15] = disk + 1
    noise = np.random.default_rng(0).normal(0, 0.1, labels.shape)
    return 0.2 + 0.5 * (labels > 0) + noise, labels


def make_figures(*ious: float) -> Figures:
    keys = read_examples([make_disks(6)], False).objects
    return Figures(
        tuple(ObjectFigures(key, iou, iou, iou) for key, iou in zip(keys, ious, strict=False))
    )


# the whole


@pytest.fixture(scope="module")
def learned(tiny_model):
    """What `tiny` makes of one step on crops of the usual number and size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn_module, "STEPS", (1.0,))
        return learn(tiny_model, [make_disks(6)], FEW_STEPS, source="disks.tif")


def test_the_parent_stays_as_it_is(learned, tiny_model) -> None:
    assert learned.parent is tiny_model
    fresh = load_model("tiny", device="cpu")
    image = make_disks(2)[0]
    assert np.array_equal(tiny_model.encode(image).features, fresh.encode(image).features)


def test_two_times_two_objects_of_six_are_held_out(learned) -> None:
    assert len(learned.objects) == 6
    for figures in (learned.before, learned.after):
        assert len({each.key for each in figures.objects}) == len(figures.objects) == 4


def test_the_learned_weights_are_the_mean_of_those_that_were_measured(
    tiny_model, monkeypatch
) -> None:
    measured = []
    make_model = Parent.make_model

    def note(parent, weights, name):
        measured.append((name, weights))
        return make_model(parent, weights, name)

    monkeypatch.setattr(Parent, "make_model", note)
    monkeypatch.setattr(learn_module, "choose_step", lambda before, after: 1.0)
    result = learn(tiny_model, [make_disks(2)], FEW_STEPS, source="a.tif")
    (_, first), (_, second), (name, mean) = measured
    assert name == "tiny + 2 objects of a.tif"
    assert result.weights is mean
    for key, weight in mean.items():
        torch.testing.assert_close(weight, (first[key] + second[key]) / 2, atol=2e-3, rtol=1e-3)
    assert any(not torch.equal(first[key], second[key]) for key in mean)


def test_the_table_names_the_three_figures(learned) -> None:
    text = str(learned)
    for word in ("one click", "+ 1 correction", "exact box", "before", "after", "worst"):
        assert word in text


def test_the_table_tells_how_many_objects_are_found_without_a_prompt(
    learned, tiny_model
) -> None:
    before, after = learned.found
    assert before.objects == after.objects == 4
    assert before.false is None, "unlabelled objects may be there"
    assert "found (IoU 0.5)" in str(learned)
    examples = read_examples([make_disks(6)], True)
    found = measure_found(tiny_model, examples, examples.objects[:2])
    assert found is not None
    assert found.false is not None
    assert found.hits == 2
    assert found.title == "automatic SA50"
    assert found.score == 2 / (2 + found.false)


def test_time_left_grows_on_a_busy_machine(tiny_model, monkeypatch) -> None:
    ticks = count()
    monkeypatch.setattr(learn_module.time, "monotonic", lambda: 3.0 * next(ticks))
    work = count(step=0.01)
    seen = []

    def stop(state) -> None:
        seen.append(state.seconds_left)
        raise CancelledError("stop")

    with pytest.raises(CancelledError):
        learn(
            tiny_model, [make_disks(6)], LearningSettings(minutes=1), stop, clock=work.__next__
        )
    assert seen[0] == pytest.approx(4 * 60, rel=0.1)


def test_the_clock_counts_work_but_does_not_wait_for_ever(monkeypatch) -> None:
    work, wall = [0.0], [0.0]
    monkeypatch.setattr(clocks.time, "process_time", lambda: work[0])
    monkeypatch.setattr(clocks.time, "monotonic", lambda: wall[0])
    clock = clocks.WorkClock()
    work[0], wall[0] = 10.0, 11.0
    assert clock() == 10
    wall[0] = 100.0
    assert clock() == 25


def test_below_five_objects_each_is_held_out(tiny_model) -> None:
    result = learn(tiny_model, [make_disks(2)], FEW_STEPS)
    assert [each.key.label for each in result.before.objects] == [1, 2]


def test_progress_is_reported_and_can_cancel(tiny_model) -> None:
    seen = []

    def stop_at_the_first_step(state) -> None:
        seen.append(state.phase)
        if state.phase == "learning":
            raise CancelledError("stop")

    with pytest.raises(CancelledError):
        learn(tiny_model, [make_disks(6)], FEW_STEPS, stop_at_the_first_step)
    assert seen[0] == "measuring before"
    assert seen.count("learning") == 1
    assert "measuring after" not in seen


def test_time_ends_learning(tiny_model) -> None:
    ticks = count(step=1.0)
    steps = []
    learn(
        tiny_model,
        [make_disks(6)],
        LearningSettings(minutes=1),
        lambda state: steps.append(state.step),
        clock=lambda: next(ticks),
    )
    assert 0 < max(steps) < 60


# weights


@pytest.mark.parametrize("part", [TrainedPart.ALL, TrainedPart.DECODER])
def test_learned_weights_answer_alike_from_memory_and_from_a_file(
    tiny_model, tmp_path, part
) -> None:
    parent = open_parent(tiny_model, part)
    rng = torch.Generator().manual_seed(0)
    changed = {
        name: weight + 1e-3 * torch.randn(weight.shape, generator=rng)
        for name, weight in parent.weights.items()
        if weight.is_floating_point()
    }
    weights = parent.between(changed, 1.0)
    model = parent.make_model(weights, "changed")
    figures = make_figures(0.5, 0.5)
    result = Learned(model, tiny_model, figures, figures, 1.0, (), FEW_STEPS, 1.0, weights)
    path = tmp_path / "changed.safetensors"
    result.save(path)
    loaded = load_model(path, device="cpu")
    image = make_disks(2)[0]
    embedding = model.encode(image)
    assert np.array_equal(embedding.features, loaded.encode(image).features)
    question = [PromptSet(points_yx=[[32, 24]])]
    (answer,) = model.predict_many(embedding, question)
    (other,) = loaded.predict_many(loaded.encode(image), question)
    assert np.allclose(answer.low_res_logits, other.low_res_logits, atol=1e-4)
    assert len({model.model_id, loaded.model_id, tiny_model.model_id}) >= 2
    again = loaded.read_weights()
    assert all(torch.equal(again[name], value) for name, value in model.read_weights().items())
    unchanged = replace(result, step=0.0)
    with pytest.raises(LearningError, match="nothing to save"):
        unchanged.save(path)
    with pytest.raises(LearningError, match=r"\.safetensors"):
        result.save(tmp_path / "changed.pth")


def test_a_failed_save_leaves_nothing(learned, tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", refuse)
    with pytest.raises(CheckpointError, match="No space left"):
        replace(learned, step=1.0).save(tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_model_without_weights_at_hand_cannot_learn(random_tiny_model) -> None:
    with pytest.raises(LearningError, match="not at hand"):
        learn(random_tiny_model, [make_disks(6)], FEW_STEPS)


def test_an_encoder_that_sees_the_whole_image_does_not_learn(tiny_model) -> None:
    whole = copy.copy(tiny_model.sam)
    whole.tile_size = None
    settings = replace(FEW_STEPS, part=TrainedPart.ALL)
    with pytest.raises(LearningError, match="choose the part 'decoder'"):
        learn(replace(tiny_model, sam=whole), [make_disks(6)], settings)


# examples


@pytest.mark.parametrize(
    ("number", "found"), [(0, "no object"), (1, "1 object")], ids=["none", "one"]
)
def test_too_few_objects_are_refused(tiny_model, number: int, found: str) -> None:
    image, labels = make_disks(2)
    with pytest.raises(LabelError, match=found):
        learn(tiny_model, [(image, np.where(labels <= number, labels, 0))], FEW_STEPS)


def test_labels_of_another_shape_are_refused(tiny_model) -> None:
    image, labels = make_disks(2)
    with pytest.raises(LabelError, match=r"\(64, 96\).*\(64, 95\)"):
        learn(tiny_model, [(image, labels[:, 1:])], FEW_STEPS)


def test_labels_that_are_no_whole_numbers_are_refused(tiny_model) -> None:
    image, labels = make_disks(2)
    with pytest.raises(LabelError, match="float64"):
        learn(tiny_model, [(image, labels.astype(float))], FEW_STEPS)


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (lambda image, labels: (image, labels), [r"ndarray", r"\[\(image, labels\)\]"]),
        (lambda image, labels: [(image, labels, 3)], [r"tuple", r"\[\(image, labels\)\]"]),
        (lambda image, labels: [(image, -labels)], ["id -2", "from 1"]),
        (lambda image, labels: [(image, labels * 10**9)], ["id 2000000000", "1,000,000"]),
        (lambda image, labels: [(1j * image, labels)], ["complex128"]),
        (lambda image, labels: [("a.tif", labels)], ["dtype <U5"]),
    ],
    ids=["no list", "triple", "negative", "too high", "complex", "path"],
)
def test_examples_that_cannot_be_read_are_refused(example, words: list[str]) -> None:
    with pytest.raises(LabelError) as refusal:
        read_examples(example(*make_disks(2)), False)
    for word in words:
        assert re.search(word, str(refusal.value))


def test_an_image_with_gaps_is_learned_from() -> None:
    image, labels = make_disks(2)
    examples = read_examples([(np.where(labels == 1, np.nan, image), labels)], False)
    assert examples.planes[0].image.dtype == np.uint8


def test_an_object_of_a_stack_is_one_object() -> None:
    image, labels = make_disks(5)
    examples = read_examples([(np.stack([image] * 3), np.stack([labels] * 3))], False)
    assert len(examples.planes) == 3
    assert len(examples.objects) == 5
    held_out, _ = hold_out(examples.objects, seed=0)
    shown = {label for plane in examples.without(held_out) for label in plane.held_out}
    assert shown == {key.label for key in held_out}
    assert len(examples.only(held_out)) == 1


@pytest.mark.parametrize(
    ("number", "sizes"), [(2, [1, 1]), (5, [2, 2]), (10, [2, 2]), (20, [4, 4])]
)
def test_a_fifth_is_held_out_twice(number: int, sizes: list[int]) -> None:
    objects = read_examples([make_disks(number)], False).objects
    groups = hold_out(objects, seed=0)
    assert [len(group) for group in groups] == sizes
    assert len({key for group in groups for key in group}) == sum(sizes)


# decisions


def test_the_best_step_that_worsens_nothing_is_chosen() -> None:
    before = make_figures(0.5, 0.6)
    after = {1.0: make_figures(0.4, 0.6), 0.5: make_figures(0.7, 0.8)}
    assert choose_step(before, after) == 0.5
    assert choose_step(before, {1.0: before}) == 0.0


def test_a_step_that_forgets_too_much_is_not_taken(tiny_model, monkeypatch) -> None:
    monkeypatch.setattr(learn_module, "STEPS", (1.0, 0.5))
    monkeypatch.setattr(learn_module, "choose_step", lambda before, after: max(after))
    monkeypatch.setattr(Memory, "is_kept_by", lambda memory, model: False)
    assert learn(tiny_model, [make_disks(2)], FEW_STEPS).step == 0.5


def test_a_gain_does_not_excuse_a_loss() -> None:
    (first, second) = make_figures(0.5, 0.6).objects
    before = Figures((first, second))
    worse_box = ObjectFigures(first.key, 0.9, 0.9, 0.45)
    assert not Figures((worse_box, second)).beats(before)


def test_a_curve_without_progress_is_flat() -> None:
    assert not is_flat([3.0, 2.0, 1.5, 1.2, 1.0, 0.9])
    assert is_flat([3.0, 2.0, *[2.0] * PATIENCE])
    assert not is_flat([2.0] * PATIENCE)


def test_the_rate_rises_stays_and_falls() -> None:
    now = [0.0]
    schedule = Schedule(100, lambda: now[0])
    rates = []
    for schedule.step, now[0] in ((0, 0.0), (20, 30.0), (40, 75.0), (60, 100.0)):
        rates.append(schedule.rate())
    assert rates == pytest.approx([0.1, 1.0, 0.5, 0.0])
    now[0] = 40.0
    schedule.finish_early()
    assert schedule.remaining == pytest.approx(10)
    assert schedule.rate() == pytest.approx(1)


def test_names_tell_parent_and_objects() -> None:
    assert name_learned("tiny", 12, "nuclei.tif") == "tiny + 12 objects of nuclei.tif"
    assert name_learned("tiny + 5 objects of a.tif", 9) == "tiny + 9 objects"
