"""What a user adds to the grid, without code: `conf/grid.yml`."""

from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.frozen import FrozenModel

GRID_FILE = Path("conf/grid.yml")
OWN = "own"
"""The pipeline of experiments of one's own, which their names start with."""


class GridError(ValueError):
    """A grid file that can't be used."""


class OwnGrid(FrozenModel):
    """The contents of the file.

    Attributes:
        downstream: datasets besides the paper's that everything is transferred to.
        experiments: any others.
    """

    downstream: tuple[str, ...] = ()
    experiments: tuple[Experiment, ...] = Field(default=())


def read_own_grid(folder: Path) -> OwnGrid:
    """Read the grid file of the project that a folder lies in; without one, nothing is added.

    It is no parameter: pipelines are wired before Kedro knows the environment.

    Args:
        folder: the project's, or one below it.

    Raises:
        GridError: the file can't be read, has unknown keys, or a name that does not start with
            `own.`.
    """
    found = [place / GRID_FILE for place in (folder, *folder.parents)]
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        return OwnGrid()
    try:
        grid = OwnGrid.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise GridError(f"{path} can't be used: {' '.join(str(error).split())[:400]}") from error
    for experiment in grid.experiments:
        if experiment.pipeline != OWN:
            raise GridError(
                f"{path}: experiment {experiment.name!r} has to be named {OWN}.SOMETHING; other"
                " first parts are pipelines of the project"
            )
    return grid
