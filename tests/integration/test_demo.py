import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_promptable import cli
from napari_promptable.files.images import read_image
from napari_promptable.prompts import PlanePrompts
from napari_promptable.samples.data import sample_prompts
from napari_promptable.samples.demo import describe_prompts

README = Path(__file__).parents[2] / "README.md"


def test_the_demo_writes_labels_and_pictures_and_reports_each_object(tmp_path, capsys) -> None:
    assert cli.main(["demo", "--output", str(tmp_path / "out")]) == cli.DONE
    report = capsys.readouterr().out
    document = sample_prompts("fluorescence_nuclei")
    labels = tifffile.imread(tmp_path / "out" / "labels.tif")
    assert labels.shape == document.image_shape
    assert set(np.unique(labels)) == {0, *document.objects}
    for name in ("overview.png", "phase_contrast_cells_overview.png"):
        picture = read_image(tmp_path / "out" / name)
        assert picture.ndim == 3
        assert picture.std() > 10
    rows = [line for line in report.splitlines() if "→ 0." in line]
    assert len(rows) == 16
    assert all(len(re.findall(r"\d\.\d\d / \d\.\d\d", row)) == 3 for row in rows)
    means = [float(mean) for mean in re.findall(r"masks \(→\) (\d\.\d\d)", report)]
    assert means[0] > 0.7
    assert means[1] > 0.4
    assert_is_shown_in_readme(report)


def assert_is_shown_in_readme(report: str) -> None:
    """README shows the first sample's report; IoU may differ slightly between processors."""
    readme = README.read_text(encoding="utf-8")
    shown = readme[readme.index(report.partition("\n")[0]) :].splitlines()
    for line, expected in zip(report.partition("\n\n")[0].splitlines(), shown, strict=False):
        texts, values = split_numbers(line)
        expected_texts, expected_values = split_numbers(expected)
        if line.startswith(
            "8 objects"
        ):  # the time depends on the computer, the folder on the call
            assert values[2] == pytest.approx(expected_values[2], abs=0.02)
        else:
            assert texts == expected_texts
            assert values == pytest.approx(expected_values, abs=0.02)


def split_numbers(line: str) -> tuple[list[str], list[float]]:
    """Text between numbers, and the numbers."""
    parts = re.split(r"(\d+\.?\d*)", line)
    return parts[::2], [float(part) for part in parts[1::2]]


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (PlanePrompts([[1, 1]]), "1 + click"),
        (PlanePrompts([[1, 1], [2, 2]], [1, 0]), "1 + and 1 − clicks"),
        (PlanePrompts(boxes_yxyx=[[0, 0, 3, 3]]), "box"),
        (PlanePrompts([[1, 1]], [0], [[0, 0, 3, 3]]), "box, 1 − click"),
    ],
)
def test_prompts_are_put_into_words(prompts, words) -> None:
    assert describe_prompts(prompts) == words
