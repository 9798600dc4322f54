"""Errors raised by several layers. Each message describes the fault and the remedy."""

from __future__ import annotations


class SourceError(ValueError):
    """A file of events that cannot be read or has invalid content.

    Args:
      path: the file, or its root:// address.
      reason: a short key for counting: "truncated", "missing_branch", "network", "vanished", ...
      message: one paragraph that names the file, the fault and the remedy.

    Attributes:
      path, reason: as given. The message is `str(error)`.
    """

    def __init__(self, path: str, reason: str, message: str):
        # All three in `args`, so that the error can be pickled between processes.
        super().__init__(path, reason, message)
        self.path, self.reason, self.message = path, reason, message

    def __str__(self) -> str:
        return self.message


class ClusterError(RuntimeError):
    """A cluster that cannot be used or was lost."""


class DatasetError(ValueError):
    """A dataset that cannot be used."""


class WorkdirError(Exception):
    """A folder of a run that cannot be used as requested."""


class TrainingError(Exception):
    """A training that cannot continue."""


class ExportError(ValueError):
    """A classifier that cannot be exported as requested."""


class ScoreError(ValueError):
    """Files that cannot be scored as requested."""


class StudyError(ValueError):
    """A study that cannot be used. The message names the faulty part."""
