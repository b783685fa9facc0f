"""A real cluster of two processes, one of which is killed."""

import multiprocessing
import os
import signal
import sys

import dask
import numpy as np
import pytest
import zarr

import napari_promptable as npp
from napari_promptable import cli
from napari_promptable.batch.cluster import propagate_on_workers
from napari_promptable.batch.segment import propagate_document
from napari_promptable.errors import (
    CacheError,
    CancelledError,
    ClusterError,
    EmbeddingMismatchError,
    ImageFormatError,
    UnknownModelError,
)
from napari_promptable.files.prompts_json import PromptDocument, write_prompts
from napari_promptable.instances.cluster import Search, search_on
from napari_promptable.instances.streaming import Labelling, write_objects
from napari_promptable.predict.cluster import RemoteSegmenter, embed_volume
from napari_promptable.predict.cluster_worker import ImageSource, Weights
from napari_promptable.predict.embedding_store import EmbeddingStore
from napari_promptable.predict.embeddings import plane_key
from napari_promptable.predict.predictor import predict_many, predict_masks
from napari_promptable.prompts import PlanePrompts, PromptSet
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.transforms import to_rgb8

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.slow

NUM_PLANES = 16


START_METHOD = "distributed.worker.multiprocessing-method"
IMPORTED_BY_WORKERS = [
    "distributed",
    "napari_promptable.batch.cluster",
    "napari_promptable.instances.cluster",
    "napari_promptable.predict.cluster_worker",
    "napari_promptable.predict.load_model",
]


@pytest.fixture(scope="module")
def cluster():
    """Two workers in processes of their own.

    Where the system can, they are forked from a process that has imported what they need:
    three of them are killed, and each that starts from nothing takes seconds.
    """
    can_fork = "forkserver" in multiprocessing.get_all_start_methods()
    with dask.config.set({START_METHOD: "forkserver" if can_fork else "spawn"}):
        context = distributed.utils.get_mp_context()
        if can_fork:
            context.set_forkserver_preload(IMPORTED_BY_WORKERS)
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0
        ) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def stack_path(tmp_path_factory):
    """A zarr stack of noise."""
    path = tmp_path_factory.mktemp("volumes") / "stack.zarr"
    stack = np.random.default_rng(0).integers(0, 4000, (NUM_PLANES, 40, 50)).astype(np.uint16)
    zarr.create_array(path, data=stack, chunks=(1, 40, 50))
    return path


def test_a_killed_worker_costs_nothing(cluster, stack_path, tiny_model, tmp_path) -> None:
    cache = tmp_path / "cache.zarr"
    done = embed_volume(stack_path, cache, address=cluster.scheduler_address, device="cpu")
    first = [next(done) for _ in range(3)]
    os.kill(cluster.workers[0].pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    found = first + list(done)
    assert sorted(index for index, _ in found) == [(z,) for z in range(NUM_PLANES)]
    store = EmbeddingStore(cache)
    assert len(store) == NUM_PLANES
    for z in range(0, NUM_PLANES, 5):
        rgb = to_rgb8(zarr.open(stack_path, mode="r")[z])
        expected = tiny_model.encode(rgb, (0, 255))
        features = store.get(plane_key(rgb, tiny_model.model_id), rgb).features
        assert np.allclose(features, expected.features, atol=1e-4)


def test_a_local_cluster_is_started(stack_path, tmp_path) -> None:
    path = tmp_path / "small.zarr"
    zarr.create_array(path, data=zarr.open(stack_path, mode="r")[:2], chunks=(1, 40, 50))
    cache = tmp_path / "cache.zarr"
    with dask.config.set({START_METHOD: "spawn"}):  # as without the other tests
        found = list(embed_volume(path, cache, device="cpu", dtype="float16", num_workers=1))
    assert sorted(found) == [((0,), True), ((1,), True)]
    assert EmbeddingStore(cache).dtype == "float16"


def test_the_rest_is_done_by_the_command(cluster, stack_path, tmp_path, capsys) -> None:
    cache = str(tmp_path / "cache.zarr")
    address = cluster.scheduler_address
    some = embed_volume(stack_path, cache, address=address, device="cpu")
    next(some)
    some.close()
    num_there = len(EmbeddingStore(cache))
    command = ["embed", str(stack_path), "-o", cache, "--scheduler", address, "--device", "cpu"]
    assert cli.main(command) == cli.DONE
    assert len(EmbeddingStore(cache)) == NUM_PLANES
    num_encoded = int(capsys.readouterr().out.split(": ")[1].split()[0])
    assert 0 < num_encoded <= NUM_PLANES - num_there


def _disks(*shape) -> np.ndarray:
    """Bright disks in noise."""
    rows, columns = (each % 32 - 16 for each in np.indices(shape)[-2:])
    noise = np.random.default_rng(2).integers(0, 300, shape)
    return (np.where(np.hypot(rows, columns) < 9, 2500, 300) + noise).astype(np.uint16)


def _kill_one(cluster) -> None:
    os.kill(cluster.workers[1].pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def test_auto_gives_the_same_labels_though_a_worker_is_killed(
    cluster, tiny_model, tmp_path
) -> None:
    stack, target = _disks(3, 32, 64), np.zeros((3, 32, 64), np.uint32)
    stack[1, :, 32:64] = 300  # objects that are missing on one slice
    zarr.create_array(tmp_path / "stack.zarr", data=stack, chunks=(1, 32, 64))
    search = Search(
        ImageSource.named(tmp_path / "stack.zarr", "ZYX"),
        Weights("tiny", "cpu"),
        npp.AutomaticSettings(),
    )
    calls: list[tuple[int, int]] = []
    with search_on(cluster.scheduler_address, search) as workers:

        def progress(done: int, total: int) -> None:
            calls.append((done, total))
            if done == 1:
                _kill_one(cluster)

        task = Labelling(
            tiny_model, stack, npp.AutomaticSettings(), search=workers, progress=progress
        )
        count = write_objects(task, target)
    expected = npp.generate_labels(tiny_model, stack)
    np.testing.assert_array_equal(target, expected)
    assert count == expected.max() > 1
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_auto_of_a_plane_gives_the_same_labels(cluster, tiny_model, tmp_path) -> None:
    plane = _disks(40, 500)
    zarr.create_array(tmp_path / "plane.zarr", data=plane[None, None], chunks=(1, 1, 40, 256))
    output = tmp_path / "labels.npy"
    command = [
        "auto",
        str(tmp_path / "plane.zarr"),
        "-o",
        str(output),
        "--device",
        "cpu",
        "--axes",
        "TZYX",
    ]
    assert cli.main([*command, "--scheduler", cluster.scheduler_address]) == cli.DONE
    expected = npp.generate_labels(tiny_model, plane)
    np.testing.assert_array_equal(np.load(output), expected)


def test_propagation_gives_the_same_labels_though_a_worker_is_killed(
    cluster, tiny_model, tmp_path
) -> None:
    stack = _disks(4, 32, 96)
    zarr.create_array(tmp_path / "stack.zarr", data=stack, chunks=(1, 32, 96))
    clicks = {1: (2, [16, 16]), 2: (0, [16, 48]), 5: (3, [16, 80])}
    objects = {
        object_id: {(z,): PlanePrompts([point], [1])}
        for object_id, (z, point) in clicks.items()
    }
    document = PromptDocument("stack.zarr", stack.shape, (1, 2), "tiny", objects)
    write_prompts(document, tmp_path / "prompts.json")
    expected = propagate_document(tiny_model, stack, document, PropagationSettings())
    assert set(np.unique(expected)) == {0, *clicks}

    def progress(done: int, total: int) -> None:
        if done == 2:
            _kill_one(cluster)

    image = ImageSource.named(tmp_path / "stack.zarr")._replace(shape=stack.shape)
    labels = propagate_on_workers(
        cluster.scheduler_address,
        image,
        document,
        PropagationSettings(),
        Weights("tiny", "cpu"),
        np.zeros(stack.shape, np.uint32),
        scratch=tmp_path,
        progress=progress,
    )
    np.testing.assert_array_equal(labels, expected)
    assert {path.name for path in tmp_path.iterdir()} == {"prompts.json", "stack.zarr"}
    output = tmp_path / "labels.npy"
    command = ["segment", str(tmp_path / "stack.zarr"), str(tmp_path / "prompts.json")]
    command += ["-o", str(output), "--propagate", "--device", "cpu"]
    assert cli.main([*command, "--scheduler", cluster.scheduler_address]) == cli.DONE
    np.testing.assert_array_equal(np.load(output), expected)


def test_a_scheduler_needs_a_propagation(tmp_path, capsys) -> None:
    zarr.create_array(tmp_path / "stack.zarr", data=np.zeros((2, 9, 9), np.uint8))
    objects = {1: {(0,): PlanePrompts([[4, 4]], [1])}}
    document = PromptDocument("stack.zarr", (2, 9, 9), (1, 2), "tiny", objects)
    prompts = write_prompts(document, tmp_path / "prompts.json")
    command = ["segment", str(tmp_path / "stack.zarr"), str(prompts), "--scheduler", "local"]
    assert cli.main([*command, "-o", str(tmp_path / "labels.npy")]) == cli.MISTAKE
    assert "need --propagate" in capsys.readouterr().err


def test_embed_shows_a_pyramid_as_the_widget_does(cluster, tiny_model, tmp_path) -> None:
    plane = np.random.default_rng(0).integers(0, 255, (2100, 2048)).astype(np.uint8)
    group = zarr.open_group(tmp_path / "slide.ome.zarr", mode="w")
    group.create_array("0", data=plane)
    group.create_array("1", data=plane[::2, ::2])
    group.attrs["multiscales"] = [{"datasets": [{"path": "0"}, {"path": "1"}]}]
    cache = tmp_path / "cache.zarr"
    command = ["embed", str(tmp_path / "slide.ome.zarr"), "-o", str(cache), "--device", "cpu"]
    assert cli.main([*command, "--scheduler", cluster.scheduler_address]) == cli.DONE
    rgb = to_rgb8(plane[::2, ::2])
    assert EmbeddingStore(cache).get(plane_key(rgb, tiny_model.model_id), rgb) is not None


def test_errors_of_the_work_arrive(cluster, stack_path, tmp_path) -> None:
    address = cluster.scheduler_address
    with pytest.raises(UnknownModelError, match="vit_x"):
        list(embed_volume(stack_path, tmp_path / "a.zarr", model="vit_x", address=address))
    with pytest.raises(ImageFormatError, match=r"no.zarr"):
        list(embed_volume(tmp_path / "no.zarr", tmp_path / "a.zarr", address=address))
    (tmp_path / "text.zarr").write_text("text")
    with pytest.raises(CacheError, match=r"text.zarr"):
        list(embed_volume(stack_path, tmp_path / "text.zarr", address=address))


def test_a_remote_encoder_gives_the_same_masks(cluster, disk_image, tiny_model) -> None:
    remote = RemoteSegmenter(tiny_model, cluster.scheduler_address, device="cpu")
    prompts = PromptSet(points_yx=[[30, 36]])
    found, expected = remote.encode(disk_image), tiny_model.encode(disk_image)
    assert np.allclose(found.features, expected.features, atol=1e-4)
    assert found.features.strides == expected.features.strides
    assert np.array_equal(found.image, expected.image)
    masks = predict_masks(remote, found, prompts).masks
    assert np.array_equal(masks, predict_masks(tiny_model, expected, prompts).masks)
    assert np.array_equal(predict_many(remote, found, [prompts])[0].masks, masks)
    remote.close()


@pytest.mark.parametrize("poll_s", [0, 60], ids=["before it is done", "when it is done"])
def test_a_cancelled_encoding_raises(
    poll_s, cluster, disk_image, tiny_model, monkeypatch
) -> None:
    monkeypatch.setattr("napari_promptable.predict.cluster._POLL_S", poll_s)
    remote = RemoteSegmenter(tiny_model, cluster.scheduler_address, device="cpu")
    with pytest.raises(CancelledError):
        remote.encode(disk_image, is_cancelled=lambda: True)
    remote.close()


def test_other_weights_are_refused(cluster, disk_image, random_tiny_model) -> None:
    remote = RemoteSegmenter(random_tiny_model, cluster.scheduler_address, device="cpu")
    with pytest.raises(EmbeddingMismatchError, match="random"):
        remote.encode(disk_image)
    remote.close()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://a"])
def test_without_a_scheduler_it_says_so(address, stack_path, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("napari_promptable.predict.scheduler._CONNECT_S", 0.5)
    with pytest.raises(ClusterError, match="dask scheduler"):
        list(embed_volume(stack_path, tmp_path / "cache.zarr", address=address))


def test_without_dask_it_says_what_to_install(stack_path, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match="pip install"):
        list(embed_volume(stack_path, tmp_path / "cache.zarr"))


def test_without_workers_it_says_so(stack_path, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("napari_promptable.predict.scheduler._WORKER_S", 0.2)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        pytest.raises(ClusterError, match="no workers"),
    ):
        list(
            embed_volume(stack_path, tmp_path / "cache.zarr", address=cluster.scheduler_address)
        )
