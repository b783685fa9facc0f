"""Promptable segmentation with the Segment Anything Model, in napari and without a screen."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_promptable.errors import CacheError as CacheError
    from napari_promptable.errors import CancelledError as CancelledError
    from napari_promptable.errors import CheckpointError as CheckpointError
    from napari_promptable.errors import ClusterError as ClusterError
    from napari_promptable.errors import DeviceError as DeviceError
    from napari_promptable.errors import EmbeddingMismatchError as EmbeddingMismatchError
    from napari_promptable.errors import ImageFormatError as ImageFormatError
    from napari_promptable.errors import LabelError as LabelError
    from napari_promptable.errors import LearningError as LearningError
    from napari_promptable.errors import MissingPackageError as MissingPackageError
    from napari_promptable.errors import PromptableError as PromptableError
    from napari_promptable.errors import PromptError as PromptError
    from napari_promptable.errors import UnknownModelError as UnknownModelError
    from napari_promptable.files.formats.exchange import export_objects as export_objects
    from napari_promptable.files.formats.exchange import import_objects as import_objects
    from napari_promptable.files.formats.label_files import open_labels as open_labels
    from napari_promptable.files.formats.labelled_objects import (
        LabelledObjects as LabelledObjects,
    )
    from napari_promptable.files.prompts_json import PromptDocument as PromptDocument
    from napari_promptable.files.prompts_json import read_prompts as read_prompts
    from napari_promptable.files.prompts_json import write_prompts as write_prompts
    from napari_promptable.instances.automatic import AutomaticResult as AutomaticResult
    from napari_promptable.instances.automatic import find_objects as find_objects
    from napari_promptable.instances.generate import generate_labels as generate_labels
    from napari_promptable.instances.settings import AutomaticSettings as AutomaticSettings
    from napari_promptable.instances.stack import StackResult as StackResult
    from napari_promptable.instances.stack import (
        find_objects_in_stack as find_objects_in_stack,
    )
    from napari_promptable.learning.learn import learn as learn
    from napari_promptable.learning.learned import Learned as Learned
    from napari_promptable.learning.settings import LearningSettings as LearningSettings
    from napari_promptable.measurement.measure import measure_objects as measure_objects
    from napari_promptable.predict.cluster import RemoteSegmenter as RemoteSegmenter
    from napari_promptable.predict.cluster import embed_volume as embed_volume
    from napari_promptable.predict.embedding_store import EmbeddingStore as EmbeddingStore
    from napari_promptable.predict.embeddings import EmbeddingCache as EmbeddingCache
    from napari_promptable.predict.embeddings import ImageEmbedding as ImageEmbedding
    from napari_promptable.predict.explain import explain as explain
    from napari_promptable.predict.explanation import Explanation as Explanation
    from napari_promptable.predict.load_model import load_model as load_model
    from napari_promptable.predict.prediction import Prediction as Prediction
    from napari_promptable.predict.predictor import PromptableModel as PromptableModel
    from napari_promptable.predict.predictor import encode_image as encode_image
    from napari_promptable.predict.predictor import predict_many as predict_many
    from napari_promptable.predict.predictor import predict_masks as predict_masks
    from napari_promptable.predict.segment_each import segment_boxes as segment_boxes
    from napari_promptable.predict.segment_each import segment_points as segment_points
    from napari_promptable.prompts import PromptSet as PromptSet
    from napari_promptable.propagation.settings import (
        PropagationSettings as PropagationSettings,
    )
    from napari_promptable.propagation.volume import PropagationResult as PropagationResult
    from napari_promptable.propagation.volume import propagate as propagate
    from napari_promptable.sizes import ExpectedSize as ExpectedSize
    from napari_promptable.sizes import expect_size as expect_size
    from napari_promptable.weights.checkpoints import fetch_checkpoint as fetch_checkpoint
    from napari_promptable.weights.registry import MODELS as MODELS

_MODULES = {
    "weights.checkpoints": ("fetch_checkpoint",),
    "predict.cluster": ("RemoteSegmenter", "embed_volume"),
    "predict.embedding_store": ("EmbeddingStore",),
    "predict.embeddings": ("EmbeddingCache", "ImageEmbedding"),
    "errors": (
        "CacheError",
        "CancelledError",
        "CheckpointError",
        "ClusterError",
        "DeviceError",
        "EmbeddingMismatchError",
        "ImageFormatError",
        "LabelError",
        "LearningError",
        "MissingPackageError",
        "PromptError",
        "PromptableError",
        "UnknownModelError",
    ),
    "instances.automatic": ("AutomaticResult", "find_objects"),
    "instances.generate": ("generate_labels",),
    "instances.settings": ("AutomaticSettings",),
    "instances.stack": ("StackResult", "find_objects_in_stack"),
    "learning.learn": ("learn",),
    "learning.learned": ("Learned",),
    "learning.settings": ("LearningSettings",),
    "predict.encoder_attention": ("explain_encoder",),
    "predict.explain": ("explain",),
    "predict.explanation": ("EncoderAttention", "Explanation"),
    "predict.load_model": ("load_model",),
    "predict.prediction": ("Prediction",),
    "predict.predictor": (
        "PromptableModel",
        "encode_image",
        "predict_many",
        "predict_masks",
    ),
    "predict.segment_each": ("segment_boxes", "segment_points"),
    "files.formats.exchange": ("export_objects", "import_objects"),
    "files.formats.label_files": ("open_labels",),
    "files.formats.labelled_objects": ("LabelledObjects",),
    "measurement.measure": ("measure_objects",),
    "files.prompts_json": ("PromptDocument", "read_prompts", "write_prompts"),
    "prompts": ("PromptSet",),
    "propagation.settings": ("PropagationSettings",),
    "sizes": ("ExpectedSize", "expect_size"),
    "weights.registry": ("MODELS",),
    "propagation.volume": ("PropagationResult", "propagate"),
}
"""Public names by module; a module is imported when one of its names is first used, so that
importing the package loads neither torch nor Qt nor napari."""

_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOMES)  # noqa: PLE0605

try:
    __version__ = version("napari-promptable")
except PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
