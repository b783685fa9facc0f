import json
import shutil
import subprocess
import sys
import sysconfig

import numpy as np
import pytest
import tifffile

from napari_promptable import cli
from napari_promptable.files.images import read_image
from napari_promptable.predict.embedding_store import EmbeddingStore
from napari_promptable.samples.data import sample_path, sample_prompts
from napari_promptable.weights.checkpoints import checkpoint_path
from napari_promptable.weights.registry import MODELS

AS_MODULE = [sys.executable, "-m", "napari_promptable"]


@pytest.fixture
def prompts_path(tmp_path):
    """One click on a 40 × 50 image."""
    content = {
        "format": "napari-promptable/prompts",
        "version": 1,
        "image": {"name": "image.tif", "shape": [40, 50]},
        "plane_axes": [0, 1],
        "model": "tiny",
        "objects": [
            {"id": 7, "planes": [{"index": [], "points": [{"yx": [20, 25], "label": 1}]}]}
        ],
    }
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def image_path(tmp_path):
    """A bright square on black."""
    image = np.zeros((40, 50), np.uint8)
    image[12:28, 17:33] = 200
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image)
    return path


def assert_is_mistake(capsys, arguments, *words) -> None:
    """Exit code 2 and one line on stderr that holds all words."""
    assert cli.main([str(argument) for argument in arguments]) == cli.MISTAKE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("napari-promptable: error: ")
    for word in words:
        assert word in err


def assert_is_mistake_after_progress(capsys, arguments, *words) -> None:
    """Exit code 2 and all words in the last line on stderr."""
    assert cli.main([str(argument) for argument in arguments]) == cli.MISTAKE
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("napari-promptable: error: ")
    for word in words:
        assert word in last


def test_models_are_listed(capsys) -> None:
    assert cli.main(["models", "list"]) == cli.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(MODELS)
    assert "bundled" in lines[1]
    assert "375 MB" in next(line for line in lines if line.startswith("vit_b "))


@pytest.mark.slow
def test_listing_models_does_not_import_torch() -> None:
    code = (
        "import sys; from napari_promptable.cli import main; main(['models', 'list']); "
        "sys.exit('torch' in sys.modules or 'napari' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_paths_and_verification(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NAPARI_PROMPTABLE_CACHE", str(tmp_path))
    assert cli.main(["models", "path", "vit_b"]) == cli.DONE
    assert capsys.readouterr().out.strip().endswith("sam_vit_b_01ec64.pth")
    assert cli.main(["models", "fetch", "tiny"]) == cli.DONE
    bundled = capsys.readouterr().out.strip()
    assert cli.main(["models", "verify", bundled]) == cli.DONE
    assert "tiny" in capsys.readouterr().out
    damaged = tmp_path / "sam_vit_b_01ec64.pth"
    damaged.write_bytes(b"damaged")
    assert_is_mistake(capsys, ["models", "verify", damaged], "vit_b", "hash")
    assert_is_mistake(capsys, ["models", "path", "vit_x"], "vit_x", "vit_b")


def test_a_click_becomes_labels(image_path, prompts_path, tmp_path, capsys) -> None:
    output = tmp_path / "labels.tif"
    arguments = ["segment", image_path, prompts_path, "-o", output, "--device", "cpu"]
    assert cli.main([str(argument) for argument in arguments]) == cli.DONE
    labels = tifffile.imread(output)
    assert labels.shape == (40, 50)
    assert labels[20, 25] == 7
    assert set(np.unique(labels)) == {0, 7}
    first = output.read_bytes()
    assert cli.main([str(argument) for argument in arguments]) == cli.DONE
    assert np.array_equal(tifffile.imread(output), labels)
    assert len(output.read_bytes()) == len(first)


@pytest.fixture
def stack_path(tmp_path):
    """Three slices, the last two of which are the same."""
    stack = np.random.default_rng(0).integers(0, 255, (3, 40, 50)).astype(np.uint8)
    stack[2] = stack[1]
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, stack, photometric="minisblack")
    return path


def test_planes_are_embedded_once(stack_path, tmp_path, capsys) -> None:
    cache = tmp_path / "cache.zarr"
    arguments = ["embed", str(stack_path), "-o", str(cache), "--device", "cpu"]
    assert cli.main(arguments) == cli.DONE
    assert "2 planes encoded, 1 already there" in capsys.readouterr().out
    assert cli.main(arguments) == cli.DONE
    assert "0 planes encoded, 3 already there" in capsys.readouterr().out
    assert_is_mistake(capsys, [*arguments, "--float16"], "float32", "float16")
    (cache / "zarr.json").write_text("{}")
    assert_is_mistake(capsys, arguments, "cache.zarr")
    scheduler = ["--scheduler", "nonsense://a"]
    assert_is_mistake(capsys, [*arguments, *scheduler], "cache.zarr")
    fresh = ["embed", stack_path, "-o", tmp_path / "fresh.zarr"]
    assert_is_mistake(capsys, [*fresh, *scheduler], "nonsense://a", "dask scheduler")
    assert_is_mistake(capsys, [*fresh, "--model", "vit_x"], "vit_x")


def test_segmenting_uses_the_cache(
    image_path, prompts_path, tmp_path, monkeypatch, capsys
) -> None:
    cache, output = str(tmp_path / "cache.zarr"), tmp_path / "labels.tif"
    embed = ["embed", str(image_path), "-o", cache, "--device", "cpu"]
    assert cli.main(embed) == cli.DONE
    arguments = ["segment", str(image_path), str(prompts_path), "-o", str(output)]
    arguments += ["--device", "cpu"]
    assert cli.main(arguments) == cli.DONE
    expected = tifffile.imread(output)

    def never(*_args, **_kwargs):
        raise AssertionError("it is in the cache")

    monkeypatch.setattr("napari_promptable.predict.predictor.encode_image", never)
    assert cli.main([*arguments, "--cache", cache]) == cli.DONE
    assert np.array_equal(tifffile.imread(output), expected)
    folders = [path for path in (tmp_path / "cache.zarr").iterdir() if path.is_dir()]
    [entry] = [path for path in folders if "." not in path.name]  # others are tiles
    (entry / "c/0/0/0").write_bytes(b"damaged")
    capsys.readouterr()
    assert_is_mistake_after_progress(capsys, [*arguments, "--cache", cache], entry.name)
    assert np.array_equal(tifffile.imread(output), expected)


def test_mistakes_are_told_in_one_line(image_path, prompts_path, tmp_path, capsys) -> None:
    output = tmp_path / "labels.tif"

    def segment(image, prompts, *options):
        return ["segment", image, prompts, "-o", output, *options]

    assert_is_mistake(capsys, segment(tmp_path / "no.tif", prompts_path), "no.tif")
    assert_is_mistake(capsys, segment(image_path, tmp_path / "no.json"), "no.json")
    assert_is_mistake(capsys, segment(image_path, image_path), "image.tif", "JSON")
    assert_is_mistake(
        capsys, segment(image_path, prompts_path, "--model", "vit_bb"), "vit_bb", "vit_b"
    )
    assert_is_mistake(
        capsys, segment(image_path, prompts_path, "--model", tmp_path / "w.pth"), "w.pth"
    )
    assert_is_mistake(
        capsys, segment(image_path, prompts_path, "--device", "toaster"), "toaster", "cpu"
    )
    wide = tmp_path / "wide.tif"
    tifffile.imwrite(wide, np.zeros((40, 60), np.uint8))
    assert_is_mistake(capsys, segment(wide, prompts_path), "(40, 60)", "(40, 50)")
    assert not output.exists()


@pytest.fixture
def channels_path(image_path, tmp_path):
    """The square in the last of two channels."""
    pixels = np.stack([np.zeros((40, 50), np.uint8), tifffile.imread(image_path)])
    path = tmp_path / "channels.ome.tif"
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "read as CYX, 2 channels, using channel 0 (DAPI)"),
        (["--channel", "1"], "read as CYX, 2 channels, using channel 1 (GFP)"),
        (["--axes", "TYX"], None),
        (["--channel", "2"], None),
    ],
)
def test_one_channel_is_segmented_and_named(
    options, sentence, channels_path, image_path, prompts_path, tmp_path, capsys
) -> None:
    output = tmp_path / "labels.tif"
    arguments = ["segment", channels_path, prompts_path, "-o", output, *options]
    if sentence is None:
        return assert_is_mistake(capsys, arguments, "channels.ome.tif", "read as")
    assert cli.main([str(argument) for argument in arguments]) == cli.DONE
    assert f"channels.ome.tif: {sentence}\n" in capsys.readouterr().err
    labels = tifffile.imread(output)
    if "1" in options:
        alone = tmp_path / "alone.tif"
        assert cli.main(["segment", str(image_path), str(prompts_path), "-o", str(alone)]) == 0
        assert np.array_equal(labels, tifffile.imread(alone))
    return None


def test_embedding_takes_one_channel(channels_path, tmp_path, capsys) -> None:
    arguments = ["embed", str(channels_path), "-o", str(tmp_path / "cache.zarr")]
    assert cli.main(arguments) == cli.DONE
    out, err = capsys.readouterr()
    assert "1 plane encoded, 0 already there" in out
    assert "using channel 0" in err
    assert cli.main([*arguments, "--axes", "ZYX"]) == cli.DONE
    assert "1 plane encoded, 1 already there" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["labels.png", "labels.npy", "labels.ome.zarr"])
def test_the_ending_chooses_the_format(name, image_path, prompts_path, tmp_path) -> None:
    for output in (tmp_path / name, tmp_path / "labels.tif"):
        arguments = ["segment", image_path, prompts_path, "-o", output]
        assert cli.main([str(argument) for argument in arguments]) == cli.DONE
    assert np.array_equal(read_image(tmp_path / name), tifffile.imread(tmp_path / "labels.tif"))


@pytest.fixture
def csv_path(tmp_path):
    """One point in the square."""
    path = tmp_path / "points.csv"
    path.write_text("index,axis-0,axis-1\n0,20,25\n")
    return path


def test_points_and_shapes_of_napari_are_prompts(
    image_path, channels_path, csv_path, prompts_path, tmp_path, capsys
) -> None:
    boxes = tmp_path / "boxes.csv"
    corners = enumerate([(12, 17), (12, 32), (27, 32), (27, 17)])
    lines = ["index,shape-type,vertex-index,axis-0,axis-1,object_id"]
    boxes.write_text(
        "\n".join([*lines, *(f"0,rectangle,{n},{y},{x},9" for n, (y, x) in corners)])
    )
    output = tmp_path / "labels.tif"
    arguments = ["segment", str(image_path), str(csv_path), "-o", str(output)]
    assert cli.main(arguments) == cli.DONE
    points_only = tifffile.imread(output)
    assert points_only[20, 25] == 1
    assert cli.main([*arguments[:2], str(boxes), *arguments[3:]]) == cli.DONE
    assert set(np.unique(tifffile.imread(output))) == {0, 9}
    assert cli.main([*arguments[:3], str(boxes), *arguments[3:]]) == cli.DONE
    assert "2 objects, model tiny" in capsys.readouterr().out
    arguments[1] = str(channels_path)
    assert cli.main([*arguments, "--channel", "1"]) == cli.DONE
    assert np.array_equal(tifffile.imread(output), points_only)
    capsys.readouterr()
    two = ["segment", image_path, prompts_path, boxes, "-o", output]
    assert_is_mistake(capsys, two, "boxes.csv", "prompts.json")


def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    image_path, prompts_path, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("napari_promptable.cli.segment.load_model", None)
    for name, word in (("a.jpg", ".ome.zarr"), ("none/a.tif", "exists"), ("a" * 300, "ending")):
        arguments = ["segment", image_path, prompts_path, "-o", tmp_path / name]
        assert_is_mistake(capsys, arguments, name, word)


def test_a_full_disk_is_told_in_one_line(capsys, monkeypatch) -> None:
    def fill_disk(*_args: object) -> None:
        raise OSError(28, "No space left on device", "/tmp/room")

    monkeypatch.setattr("napari_promptable.cli.models.fetch_checkpoint", fill_disk)
    assert_is_mistake(capsys, ["models", "fetch", "tiny"], "/tmp/room", "No space left")


def test_objects_with_background_clicks_only_are_refused(
    image_path, prompts_path, tmp_path, capsys
) -> None:
    content = json.loads(prompts_path.read_text())
    content["objects"][0]["planes"][0]["points"][0]["label"] = 0
    prompts_path.write_text(json.dumps(content))
    arguments = ["segment", image_path, prompts_path, "-o", tmp_path / "labels.tif"]
    assert cli.main([str(argument) for argument in arguments]) == cli.MISTAKE
    assert "object 7" in capsys.readouterr().err
    assert not (tmp_path / "labels.tif").exists()


def test_interruption_has_its_own_code(capsys, monkeypatch) -> None:
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_promptable.cli.models.fetch_checkpoint", interrupt)
    assert cli.main(["models", "fetch", "tiny"]) == cli.INTERRUPTED
    assert capsys.readouterr().err == "napari-promptable: interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["Missing command"]),
        (["paint"], ["'paint'"]),
        (["segment", "a.tif"], ["PROMPTS.json", "segment --help"]),
        (["segment", "a.tif", "p.json"], ["--output", "segment --help"]),
        (["models"], ["Missing command", "models --help"]),
        (["embed", "a.tif", "-o", "c", "--max-size", "big"], ["--max-size", "number"]),
        (["evaluate", "a", "b", "--prompt", "scribble"], ["--prompt", "'point', 'box'"]),
        (["evaluate", "a", "b", "--colour"], ["--colour"]),
    ],
)
def test_a_wrong_command_line_is_a_mistake(arguments, words, capsys) -> None:
    assert_is_mistake(capsys, arguments, *words, "see napari-promptable ")


@pytest.mark.parametrize(
    "command", [[], ["models"], ["segment"], ["embed"], ["evaluate"], ["finetune"]]
)
def test_help_is_no_mistake(command, capsys) -> None:
    assert cli.main([*command, "--help"]) == cli.DONE
    out, err = capsys.readouterr()
    assert "Usage: napari-promptable" in out
    assert err == ""


def test_a_plot_without_matplotlib_is_refused_before_the_work(capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = ["evaluate", "images", "labels", "--plot", "a.png"]
    assert_is_mistake(capsys, arguments, "pip install 'napari-promptable[plot]'")


@pytest.fixture
def labelled_paths(tmp_path):
    """An image of six squares, and the labels of all of them."""
    labels = np.zeros((40, 180), np.uint8)
    for number in range(6):
        labels[12:28, 7 + 30 * number : 23 + 30 * number] = number + 1
    paths = tmp_path / "cells.tif", tmp_path / "cells_lbl.tif"
    for path, array in zip(paths, (200 * (labels > 0).astype(np.uint8), labels), strict=True):
        tifffile.imwrite(path, array)
    return paths


@pytest.mark.usefixtures("quick_learning")
def test_weights_that_are_no_better_are_not_written(
    labelled_paths, tmp_path, capsys, monkeypatch
) -> None:
    from napari_promptable.learning import learn

    monkeypatch.setattr(learn, "choose_step", lambda before, after: 0.0)
    output = tmp_path / "mine.safetensors"
    arguments = ["finetune", *labelled_paths, "-o", output, "--steps", 1, "--objects", 5]
    kept = tmp_path / "kept.zarr"
    arguments += ["--part", "decoder", "--cache", kept]
    assert cli.main([str(argument) for argument in arguments]) == cli.DONE
    assert len(EmbeddingStore(kept)) > 0
    out = capsys.readouterr().out
    assert "not better than before" in out
    assert "was not written" in out
    assert not output.exists()


@pytest.mark.usefixtures("quick_learning")
def test_learned_weights_are_a_model(labelled_paths, tmp_path, capsys, monkeypatch) -> None:
    from safetensors import safe_open

    from napari_promptable.learning import learn

    monkeypatch.setattr(learn, "choose_step", lambda before, after: 1.0)
    output = tmp_path / "mine.safetensors"
    arguments = ["finetune", *labelled_paths, "-o", output, "--steps", 1]
    assert cli.main([str(argument) for argument in arguments]) == cli.DONE
    assert "tiny + 6 objects of cells.tif" in capsys.readouterr().out
    with safe_open(output, "pt") as file:
        about = file.metadata()
    assert about["parent"] == "tiny"
    assert json.loads(about["settings"])["max_steps"] == 1
    assert len(json.loads(about["objects"])) == 6
    report = tmp_path / "report.json"
    command = ["evaluate", *labelled_paths, "--model", output, "--json", report]
    assert cli.main([str(argument) for argument in command]) == cli.DONE
    assert json.loads(report.read_text())["n_objects"] == 6


def test_a_session_finds_its_learned_model_beside_its_prompts(
    image_path, prompts_path, tmp_path, capsys
) -> None:
    shutil.copy(checkpoint_path("tiny"), tmp_path / "learned-1.safetensors")
    document = json.loads(prompts_path.read_text()) | {"model": "/gone/learned-1.safetensors"}
    prompts_path.write_text(json.dumps(document))
    output = tmp_path / "labels.tif"
    arguments = ["segment", image_path, prompts_path, "-o", output]
    assert cli.main([str(argument) for argument in arguments]) == cli.DONE
    assert read_image(output).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "mine.pth"], [".pth", ".safetensors"]),
        (["-o", "no/mine.safetensors"], ["no/mine.safetensors"]),
        (["-o", "a.safetensors", "--minutes", "0"], ["minutes must be more than 0"]),
        (["-o", "a.safetensors", "--objects", "1"], ["--objects"]),
    ],
)
def test_learning_refuses_mistakes_before_the_work(
    labelled_paths, options, words, capsys, monkeypatch, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_is_mistake(capsys, ["finetune", *labelled_paths, *options], *words)


@pytest.mark.slow
def test_the_script_and_the_module_give_the_same_labels(tmp_path) -> None:
    name = "fluorescence_nuclei"
    prompts = sample_path(name).with_name(f"{name}.prompts.json")
    script = shutil.which("napari-promptable", path=sysconfig.get_path("scripts"))
    outputs = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for begin, output in zip([[script], AS_MODULE], outputs, strict=True):
        command = [*begin, "segment", str(sample_path(name)), str(prompts), "-o", str(output)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    first, second = map(tifffile.imread, outputs)
    assert np.array_equal(first, second)
    assert set(np.unique(first)) <= {0, *sample_prompts(name).objects}


@pytest.mark.slow
def test_the_module_exits_with_the_code_of_the_command() -> None:
    command = [*AS_MODULE, "models", "path", "vit_x"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == cli.MISTAKE
    assert done.stderr.count("\n") == 1
    assert "vit_x" in done.stderr


def test_auto_labels_an_image_beside_what_is_kept(
    tmp_path, image_path, capsys, random_tiny_model, monkeypatch
) -> None:
    monkeypatch.setattr("napari_promptable.cli.auto.load_model", lambda *_: random_tiny_model)
    kept = np.zeros((40, 50), np.uint8)
    kept[:6, :6] = 3
    tifffile.imwrite(tmp_path / "kept.tif", kept)
    output = tmp_path / "labels.tif"
    arguments = ["auto", image_path, "-o", output, "--seeds", "grid", "--points-per-side", 3]
    arguments += ["--min-confidence", 0.0, "--min-area", 1, "--region", "0,0,19,49"]
    arguments += ["--keep", tmp_path / "kept.tif"]
    assert cli.main([str(argument) for argument in arguments]) == 0
    labels = read_image(output)
    assert (labels[:6, :6] == 3).all()
    assert (labels[20:] == 0).all()
    assert "new object" in capsys.readouterr().out


def test_auto_refuses_what_cannot_be_meant(tmp_path, image_path, capsys) -> None:
    output = ["-o", tmp_path / "labels.tif"]
    assert_is_mistake(
        capsys, ["auto", image_path, *output, "--region", "over there"], "--region over there"
    )
    assert_is_mistake(
        capsys, ["auto", image_path, "-o", tmp_path / "labels.jpg"], "choose one of these"
    )
    assert_is_mistake(
        capsys, ["auto", image_path, *output, "--keep", tmp_path / "none.tif"], "no file"
    )
