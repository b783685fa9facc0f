import json
from collections.abc import Sequence

import numpy as np
import pytest
import tifffile

from napari_promptable import cli
from napari_promptable.errors import PromptError
from napari_promptable.evaluation.evaluate import (
    ImageScore,
    ObjectScore,
    Protocol,
    correction_click,
    evaluate_plane,
    first_prompt,
    jitter_box,
    score_objects,
)
from napari_promptable.evaluation.report import draw_plot, format_table, summarise
from napari_promptable.predict.prediction import Prediction
from napari_promptable.prompts import PromptSet
from napari_promptable.sizes import expect_size

SHAPE = (40, 50)


def make_labels() -> np.ndarray:
    labels = np.zeros(SHAPE, int)
    labels[5:15, 5:17] = 4
    labels[20:36, 25:45] = 9
    labels[0:4, 0:4] = 2  # 16 pixels: too small
    return labels


class PerfectAfterClicks:
    """Answers with half of the object at first, and with more of it after each correction."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        self.questions: list[PromptSet] = []

    def predict_many(
        self, embedding: object, asked: Sequence[PromptSet], multimask_output: bool | None
    ) -> list[Prediction]:
        [prompts] = asked
        self.questions.append(prompts)
        row, column = (
            prompts.points_yx[0]
            if len(prompts.points_yx)
            else prompts.box_yxyx.reshape(2, 2).mean(axis=0)
        ).astype(int)
        truth = self.labels == self.labels[row, column]
        rows = np.flatnonzero(truth.any(axis=1))
        share = min(1.0, 0.5 * len(self.questions))
        part = truth & (np.arange(SHAPE[0]) < rows[0] + share * len(rows))[:, None]
        masks = np.stack([part, truth, np.zeros(SHAPE, bool)])
        logits = np.where(masks, 1, -1).astype(np.float32)
        return [Prediction(masks, np.array([0.7, 0.5, 0.1], np.float32), logits)]


@pytest.fixture
def scores(monkeypatch):
    """Function that evaluates the model above on the labels above."""
    monkeypatch.setattr(
        "napari_promptable.evaluation.evaluate.encode_image", lambda model, image: None
    )
    labels = make_labels()

    def evaluate(protocol: Protocol):
        found = []
        for label in (4, 9):  # a fresh model for each object
            model = PerfectAfterClicks(np.where(labels == label, labels, 0))
            [score] = evaluate_plane(
                model, np.zeros(SHAPE), np.where(labels == label, labels, 0), protocol
            )
            found.append((score, model.questions))
        return found

    return evaluate


def test_a_point_is_corrected_until_the_mask_is_the_object(scores) -> None:
    for score, questions in scores(Protocol("point", corrections=3)):
        assert score.ious == (pytest.approx(0.5), 1.0, 1.0, 1.0)
        assert score.oracle_iou == 1.0
        assert score.predicted_iou == pytest.approx(0.7)
        assert len(questions) == 2  # nothing is asked once it is right
        assert questions[1].point_labels.tolist() == [1, 1]
        assert questions[1].mask_logits is not None


def test_a_box_is_exact_without_jitter(scores) -> None:
    (score, questions), _ = scores(Protocol("box"))
    assert questions[0].box_yxyx.tolist() == [5, 5, 14, 16]
    assert (score.label, score.area) == (4, 120)


def test_small_objects_are_left_out(monkeypatch) -> None:
    monkeypatch.setattr(
        "napari_promptable.evaluation.evaluate.encode_image", lambda model, image: None
    )
    labels = make_labels()
    found = evaluate_plane(PerfectAfterClicks(labels), np.zeros(SHAPE), labels, Protocol())
    assert [score.label for score in found] == [4, 9]
    assert evaluate_plane(None, np.zeros(SHAPE), labels * (labels == 2), Protocol()) == ()


def test_corrections_are_clicks_in_the_largest_error() -> None:
    truth = make_labels() == 9
    assert correction_click(truth, truth) is None
    missing = truth.copy()
    missing[:, 40:] = False
    missing[30, 20] = True
    point, label = correction_click(truth, missing)
    assert label == 1
    assert truth[tuple(point.astype(int))]
    assert point[1] >= 40
    too_much = truth.copy()
    too_much[0:10, 20:40] = True
    point, label = correction_click(truth, too_much)
    assert label == 0
    assert point[0] < 10


def test_jitter_is_a_share_of_the_sides() -> None:
    rng = np.random.default_rng(0)
    box = np.array([40, 50, 59, 129])
    moved = np.array([jitter_box(box, 0.1, (200, 200), rng) for _ in range(500)])
    np.testing.assert_allclose(moved.mean(axis=0), box, atol=1.5)
    np.testing.assert_allclose(moved.std(axis=0), [2, 8, 2, 8], rtol=0.15)
    for one in (0.0, 0.9):
        moved = jitter_box(np.array([0, 0, 3, 3]), one, (10, 10), rng)
        assert (moved[:2] <= moved[2:]).all()
        assert (moved >= 0).all()
        assert (moved <= 9).all()


def test_jitter_is_the_same_for_the_same_seed() -> None:
    truth, protocol = make_labels() == 9, Protocol("box", box_jitter=0.2)
    first, second = (first_prompt(truth, protocol, np.random.default_rng(3)) for _ in range(2))
    assert first == second


class NotesQuestions:
    """Answers nothing, and notes the questions."""

    def __init__(self) -> None:
        self.questions: list[PromptSet] = []

    def predict_many(
        self, embedding: object, asked: Sequence[PromptSet], multimask_output: bool | None
    ) -> list[Prediction]:
        self.questions += asked
        nothing = np.zeros((1, 100, 100), bool)
        return [Prediction(nothing, np.zeros(1, np.float32), nothing.astype(np.float32))]


def ask_about_squares(protocol: Protocol) -> list[PromptSet]:
    """Questions about squares of 5, 10, 15 and 20 pixels."""
    labels = np.zeros((100, 100), int)
    for number, side in enumerate((5, 10, 15, 20)):
        labels[25 * number : 25 * number + side, :side] = number + 1
    model = NotesQuestions()
    score_objects(model, None, labels, protocol)
    return model.questions


def test_sizes_of_other_objects_can_be_known_before() -> None:
    assert [each.expected_size for each in ask_about_squares(Protocol())] == [None] * 4
    after = [each.expected_size for each in ask_about_squares(Protocol(after=3))]
    areas = [side**2 for side in (5, 10, 15, 20)]
    for number, found in enumerate(after):
        expected = expect_size([*areas[:number], *areas[number + 1 :]])
        assert found is not None
        assert expected is not None
        assert found == expected
    assert ask_about_squares(Protocol(after=9))[0].expected_size == after[0]


def test_some_objects_can_be_drawn_at_random() -> None:
    first, again = (ask_about_squares(Protocol(most_objects=2)) for _ in range(2))
    assert len(first) == 2
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.points_yx, other.points_yx)
    assert len(ask_about_squares(Protocol(most_objects=9))) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": "scribble"},
        {"box_jitter": 1.5},
        {"corrections": -1},
        {"after": -1},
        {"most_objects": 0},
    ],
)
def test_a_protocol_that_cannot_be_run_is_refused(options) -> None:
    with pytest.raises(PromptError):
        Protocol(**options)


# report


def make_scores() -> list[ImageScore]:
    return [
        ImageScore(
            "a",
            "1",
            (
                ObjectScore(1, 100, (0.5, 0.7), 0.6, 0.9),
                ObjectScore(2, 50, (0.7, 0.9), 0.8, 0.7),
            ),
        ),
        ImageScore("b", "2", (ObjectScore(1, 900, (0.9, 1.0), 0.9, 0.8),)),
    ]


def test_means_are_over_objects_and_over_datasets() -> None:
    summary = summarise("tiny", Protocol("point", corrections=1), make_scores())
    assert (summary["n_images"], summary["n_objects"]) == (2, 3)
    assert summary["mean_iou"] == pytest.approx(0.7)
    assert summary["mean_iou_oracle"] == pytest.approx(2.3 / 3)
    assert summary["iou_by_corrections"] == pytest.approx([0.7, 2.6 / 3])
    assert summary["predicted_iou_error"] == pytest.approx(0.5 / 3)
    assert summary["mean_over_datasets"]["mean_iou"] == pytest.approx(0.75)
    assert summary["mean_over_datasets"]["iou_by_corrections"] == pytest.approx([0.75, 0.9])
    assert summary["per_dataset"]["a"]["n_objects"] == 2
    assert [image["name"] for image in summary["per_image"]] == ["1", "2"]
    json.dumps(summary)
    table = format_table(summary)
    assert "mean over datasets" in table
    assert "0.750" in table


def test_the_plot_is_a_picture() -> None:
    images = make_scores()
    picture = draw_plot(summarise("tiny", Protocol(), images), images)
    assert picture.ndim == 3
    assert picture.dtype == np.uint8
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


def test_the_command_writes_json_and_plot(tmp_path, capsys) -> None:
    labels = np.zeros((60, 60), np.uint8)
    labels[20:40, 20:40] = 3
    tifffile.imwrite(tmp_path / "a_img.tif", labels * 60)
    tifffile.imwrite(tmp_path / "a_lbl.tif", labels)
    out, plot = tmp_path / "out.json", tmp_path / "out.png"
    arguments = ["evaluate", tmp_path, tmp_path, "--prompt", "box", "--corrections", "1"]
    assert cli.main([*map(str, arguments), "--json", str(out), "--plot", str(plot)]) == cli.DONE
    summary = json.loads(out.read_text())
    assert summary["model"] == "tiny"
    assert (summary["prompt"], summary["corrections"]) == ("box", 1)
    assert (summary["n_images"], summary["n_objects"]) == (1, 1)
    assert summary["mean_iou"] > 0.8
    assert len(summary["iou_by_corrections"]) == 2
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "tiny, box" in capsys.readouterr().out


def test_the_command_tells_what_is_wrong(tmp_path, capsys) -> None:
    tifffile.imwrite(tmp_path / "a_img.tif", np.zeros((9, 9), np.uint8))
    tifffile.imwrite(tmp_path / "a_lbl.tif", np.zeros((9, 9), np.uint8))
    assert cli.main(["evaluate", str(tmp_path), str(tmp_path)]) == cli.MISTAKE
    assert "no object of 20 pixels" in capsys.readouterr().err
