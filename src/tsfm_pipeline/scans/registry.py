"""Models by name: released ones stand in a folder of the user's, so `-m NAME` finds them."""

import os
from difflib import get_close_matches
from pathlib import Path

from tsfm_pipeline.model.folder import ModelError, ModelFolder

VARIABLE = "TSFM_MODELS"
"""Environment variable that names another registry, for one that several users share."""


def registry() -> Path:
    """Return the folder of named models: `$TSFM_MODELS`, else `tsfm/models` where XDG keeps data.

    Its entries are model folders, or links to them.
    """
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "tsfm" / "models"


def register(release: Path) -> str:
    """Let `-m NAME` find a release by the name of its folder, through a link; return the name.

    An older link of that name is replaced.

    Raises:
        ModelError: the name belongs to a model folder that somebody has put there.
        OSError: the registry can't be written.
    """
    entry = registry() / release.resolve().name
    entry.parent.mkdir(parents=True, exist_ok=True)
    if entry.resolve() == release.resolve():
        return entry.name  # released into the registry itself, or once more to the same place
    if entry.exists() and not entry.is_symlink():
        raise ModelError(f"{entry} is a model folder of its own; give the release another name")
    entry.unlink(missing_ok=True)
    entry.symlink_to(release.resolve(), target_is_directory=True)
    return entry.name


def registered() -> list[str]:
    """Return the names that the registry knows."""
    folder = registry()
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if ModelFolder(path).card_path.exists())


def find_model(model: Path | str) -> ModelFolder:
    """Return the folder of a model that is named by its folder, the one above it, or its name.

    A folder comes before a registered name. One that is no model but holds a single one, as
    `data/06_models/WORKSPACE/EXPERIMENT` holds DIGEST, stands for it.

    Raises:
        ModelError: a folder of several models, or neither a folder nor a name.
    """
    path = Path(model)
    if path.is_dir() and not ModelFolder(path).card_path.exists():
        below = [one for one in sorted(path.iterdir()) if ModelFolder(one).card_path.exists()]
        if len(below) > 1:
            raise ModelError(f"{path} holds {len(below)} models; name one of them: {_list(below)}")
        if below:
            return ModelFolder(below[0])
    if path.is_dir() or len(path.parts) != 1:
        return ModelFolder(path)
    if path.name in registered():
        return ModelFolder(registry() / path)
    near = get_close_matches(path.name, registered(), n=1)
    known = f"did you mean {near[0]}? " if near else ""
    known += f"it knows {', '.join(registered()) or 'none'}"
    raise ModelError(
        f"{path} is neither a folder nor a model that {registry()} knows ({known}); name the folder"
        " of a released model, or one that training left:"
        " data/06_models/WORKSPACE/EXPERIMENT/DIGEST"
    )


def _list(paths: list[Path]) -> str:
    return ", ".join(map(str, paths[:5])) + (", ..." if paths[5:] else "")
