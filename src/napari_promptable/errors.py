"""Errors, one class for each cause. Each is also the built-in class one would expect."""


class PromptableError(Exception):
    """Base of all errors that this package raises on purpose."""


class UnknownModelError(PromptableError, ValueError):
    """No model or architecture has this name."""


class DeviceError(PromptableError, ValueError):
    """The device to compute on does not exist here."""


class CheckpointError(PromptableError, OSError):
    """A weights file is missing, damaged, or not of the architecture asked for."""


class ImageFormatError(PromptableError, ValueError):
    """An image has a shape, dtype or content that cannot be segmented."""


class PromptError(PromptableError, ValueError):
    """A prompt is malformed or lies where it cannot be used."""


class EmbeddingMismatchError(PromptableError, ValueError):
    """An embedding was made by another model, or from another image size."""


class LabelError(PromptableError, ValueError):
    """An object cannot be written into a labels array."""


class LearningError(PromptableError, ValueError):
    """A model cannot learn, or its weights do not belong to it."""


class CacheError(PromptableError, OSError):
    """An embedding cache is damaged or belongs to something else."""


class ClusterError(PromptableError, ConnectionError):
    """A scheduler or its workers cannot be reached, are lost, or cannot do the work."""


class MissingPackageError(PromptableError, ImportError):
    """A package that only some features need is not installed."""


class CancelledError(PromptableError):
    """The user cancelled the work."""
