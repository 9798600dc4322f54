"""Errors that several layers raise. Each message describes the fault and the way out."""

from __future__ import annotations


class SourceError(ValueError):
    """A file of events that cannot be read, or not be believed.

    Args:
      path: the file, or its root:// address.
      reason: a short slug to count by: "truncated", "missing_branch", "network", "vanished", ...
      message: one paragraph that names the file and what is wrong, and says what to do about it.

    Attributes:
      path, reason: as given. The message is `str(error)`.
    """

    def __init__(self, path: str, reason: str, message: str):
        # All three in `args`, so that it survives the way back from another process.
        super().__init__(path, reason, message)
        self.path, self.reason, self.message = path, reason, message

    def __str__(self) -> str:
        return self.message


class ClusterError(RuntimeError):
    """The cluster cannot be used, or was lost."""


class DatasetError(ValueError):
    """A dataset that cannot be used as it is."""


class WorkdirError(Exception):
    """The folder of a run cannot be used as asked."""


class TrainingError(Exception):
    """A training cannot continue."""


class ExportError(ValueError):
    """A classifier cannot be exported as asked."""


class ScoreError(ValueError):
    """Files cannot be scored as asked."""


class StudyError(ValueError):
    """A study, or a part of it, that cannot be used as it is written; the message names the part."""
