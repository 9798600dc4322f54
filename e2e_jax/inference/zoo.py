"""The released classifiers by name, stored in `e2e_jax/zoo/` of a checkout or an installation."""

from pathlib import Path

from e2e_jax.errors import WorkdirError
from e2e_jax.runs.folder import CONFIG

FOLDER = Path(__file__).parents[1] / "zoo"
"""In a checkout, a link to `release/`."""


def names(folder: Path = FOLDER) -> list[str]:
    """Names of the released classifiers."""
    return sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))


def folder_of(name_or_folder, folder: Path = FOLDER) -> Path:
    """The folder of a released classifier or of a run; an existing folder has precedence over a name.

    Args:
      name_or_folder: one of `names`, or a path.
      folder: folder of the released classifiers.

    Raises:
      WorkdirError: a single word is neither a folder nor the name of a released classifier.
    """
    path = Path(name_or_folder).expanduser()
    if path.exists() or len(path.parts) != 1:
        return path
    if path.name in (known := names(folder)):
        return folder / path.name
    raise WorkdirError(
        f"There is no run in {path}, and no released classifier has this name. Released are: "
        f"{', '.join(known) or 'none'}."
    )
