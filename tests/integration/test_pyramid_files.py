"""`segment` reads a field at reduced resolution from the file's level, as the widget does."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_promptable import PromptDocument, cli
from napari_promptable.batch.segment import segment_document
from napari_promptable.fields import Field
from napari_promptable.files.images import open_image
from napari_promptable.files.prompts_json import write_prompts
from napari_promptable.prompts import PlanePrompts

FIELD = Field(0, 0, 512, 640, 4)


@pytest.fixture
def levels() -> list[np.ndarray]:
    """A bright disk; lower levels are smoothed, as no reader would compute them."""
    rows, columns = np.indices((512, 640))
    full = np.where(np.hypot(rows - 200, columns - 240) < 60, 200, 30).astype(np.uint8)
    full += np.random.default_rng(0).integers(0, 20, full.shape, np.uint8)
    return [full, full[::2, ::2], full[::4, ::4] // 2 + 40]


def write_zarr(path: Path, levels: list[np.ndarray]) -> None:
    group = zarr.open_group(path, mode="w")
    for number, level in enumerate(levels):
        group.create_array(str(number), data=level)
    axes = [{"name": name, "type": "space"} for name in "yx"]
    datasets = [{"path": str(number)} for number in range(len(levels))]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": datasets}],
    }


def write_tiff(path: Path, levels: list[np.ndarray]) -> None:
    full, *reduced = levels
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(full, tile=(256, 256), subifds=len(reduced), metadata={"axes": "YX"})
        for level in reduced:
            file.write(level, tile=(64, 64), subfiletype=1)


@pytest.mark.parametrize(("name", "write"), [("a.ome.zarr", write_zarr), ("a.tif", write_tiff)])
def test_a_level_of_the_file_is_what_the_model_is_shown(
    tmp_path, levels, tiny_model, name, write
) -> None:
    write(tmp_path / name, levels)
    opened = open_image(tmp_path / name)
    assert {step: level.shape for step, level in opened.levels_by_step.items()} == {
        2: (256, 320),
        4: (128, 160),
    }
    prompts = PlanePrompts([[200, 240]], field=FIELD)
    document = PromptDocument(name, levels[0].shape, (0, 1), "tiny", {1: {(): prompts}})
    write_prompts(document, tmp_path / "prompts.json")
    output = tmp_path / "labels.npy"
    arguments = [tmp_path / name, tmp_path / "prompts.json", "-o", output]
    assert cli.main(["segment", *map(str, arguments)]) == cli.DONE
    expected = segment_document(
        tiny_model, levels[0], document, levels={2: levels[1], 4: levels[2]}
    )
    assert 8000 < (expected > 0).sum() < 16000
    np.testing.assert_array_equal(np.load(output), expected)


@pytest.mark.parametrize(("name", "write"), [("a.ome.zarr", write_zarr), ("a.tif", write_tiff)])
def test_levels_of_odd_factors_are_found(tmp_path, levels, fake_segmenter, name, write) -> None:
    full = levels[0][:511, :637]
    odd = [full, full[::3, ::3][:170, :212], full[: 511 // 7 * 7 : 7, ::7], full[::12, ::13]]
    write(tmp_path / name, odd)
    fake_segmenter.model_id = "fake"
    opened = open_image(tmp_path / name)
    assert {step: level.shape for step, level in opened.levels_by_step.items()} == {
        3: (170, 212),
        7: (73, 91),
    }
    for step in (3, 7):
        field = Field(0, 0, 511, 637, step)
        assert opened.source.read((), field).shape == field.shape
        prompts = PlanePrompts([[200, 240]], field=field)
        document = PromptDocument(name, full.shape, (0, 1), "fake", {1: {(): prompts}})
        labels = segment_document(
            fake_segmenter, opened.data, document, levels=opened.levels_by_step
        )
        assert labels[200, 240] == 1
        rows, columns = np.nonzero(labels)
        assert abs(rows.mean() - 200) < step
        assert abs(columns.mean() - 240) < step


@pytest.mark.parametrize("axes", ["SYX", "YXS"])
def test_levels_follow_their_image(axes: str) -> None:
    from napari_promptable.files.image_file import ImageFile

    shapes = [(3, 64, 80), (3, 32, 40)]
    if axes == "YXS":
        shapes = [(64, 80, 3), (32, 40, 3)]
    data, level = (np.zeros(shape, np.uint8) for shape in shapes)
    image = ImageFile(data, axes, "a", "read", levels=(level,)).with_samples_last()
    assert image.levels_by_step[2].shape == (32, 40, 3)
