"""One click gives one connected part, unless the user wants all parts."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import ndimage

from napari_promptable.batch.replay import replay_document
from napari_promptable.cli.app import main
from napari_promptable.files.prompts_json import read_prompts
from napari_promptable.predict.prediction import Prediction

pytestmark = pytest.mark.gui

SPECKS = ((3, 3), (50, 70))


@pytest.fixture
def speckled_model(fake_model, monkeypatch):
    """Fake model whose masks have two specks each."""
    predict = fake_model._predict

    def predict_with_specks(embedding, prompts) -> Prediction:
        prediction = predict(embedding, prompts)

        def draw(candidates: Sequence[int]) -> np.ndarray:
            masks = prediction.masks[list(candidates)].copy()
            for row, column in SPECKS:
                masks[:, row, column] = True
            return masks

        return Prediction(
            draw, prediction.predicted_iou, prediction.low_res_logits, prediction.default
        )

    monkeypatch.setattr(fake_model, "_predict", predict_with_specks)
    return fake_model


def num_parts(labels: np.ndarray, object_id: int) -> int:
    return ndimage.label(labels == object_id)[1]


def test_a_click_gives_one_part_and_a_switch_all(
    open_desk, make_disks, speckled_model, tmp_path
) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    user.push("one_part")
    assert num_parts(user.preview_mask, 1) == 3
    user.push("one_part")
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    user.push("commit")
    user.push("one_part")
    user.click(user.world(*disks.centres[1]))
    user.push("commit")
    assert (num_parts(user.labels, 1), num_parts(user.labels, 2)) == (1, 3)

    user.choose_object(1)
    assert user.control("one_part").isChecked(), "each object keeps its own choice"
    user.push("new_object")
    assert not user.control("one_part").isChecked(), "a new object has the last choice"

    path = tmp_path / "prompts.json"
    user.widget.controller.file_actions.save_prompts(str(path), "tiny")
    labels = replay_document(lambda _: speckled_model, disks.image, read_prompts(path))
    np.testing.assert_array_equal(labels, user.labels)


def test_an_object_that_is_not_on_a_slice_keeps_the_choice(open_desk, make_disks) -> None:
    disks = make_disks((2, 60, 80), [(0, 20, 24)])
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.press("C")
    user.push("new_object")
    user.widget.controller.object_actions.go_to(1)
    user.widget.controller.volume_actions.review.choose(1)
    user.widget.controller.volume_actions.review.not_here()
    assert user.control("one_part").isChecked()


@pytest.mark.parametrize(
    ("option", "object_of_specks"), [("--one-part", 0), ("--all-parts", 1)]
)
def test_the_command_line_overrides_the_choice(
    open_desk, make_disks, speckled_model, tmp_path, monkeypatch, option, object_of_specks
) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.push("commit")
    user.push("one_part")
    user.click(user.world(*disks.centres[1]))
    path, output = tmp_path / "prompts.json", tmp_path / "labels.npy"
    user.widget.controller.file_actions.save_prompts(str(path), "tiny")
    image = tmp_path / "image.npy"
    np.save(image, disks.image)
    monkeypatch.setattr("napari_promptable.cli.segment.load_model", lambda *_: speckled_model)
    assert main(["segment", str(image), str(path), "-o", str(output), option]) == 0
    labels = np.load(output)
    assert {labels[speck] for speck in SPECKS} == {object_of_specks}
    assert set(np.unique(labels)) == {0, 1, 2}
