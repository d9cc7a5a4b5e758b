"""What can be wrong with a checkpoint, an instruction or an observation.

Every message says what was found, what was expected and what to do, so that a node can show it unchanged.
"""

from __future__ import annotations


class ModelError(ValueError):
    """Base of everything that the user can put right."""


class CheckpointError(ModelError):
    """The checkpoint folder is missing, broken, of another kind, or would run wrong."""


class InstructionError(ModelError):
    """The instruction is empty, too long or holds text that is not an instruction."""


class ObservationError(ModelError):
    """A camera image, the state or the noise has the wrong name, shape, type or values."""
