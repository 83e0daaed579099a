"""Which datasets are phantoms: they may be mixed with real ones."""

from collections.abc import Iterable
from pathlib import Path

from tsfm_pipeline.phantom.ownership import is_phantom
from tsfm_pipeline.phantom.settings import PhantomSettings
from tsfm_pipeline.sources import Datasets


def phantoms_among(
    names: Iterable[str], datasets: Datasets, raw_root: Path, phantom_root: Path
) -> tuple[str, ...]:
    """Return the datasets whose files the generator has made, also where they are gone by now."""
    folders = {name: raw_root / datasets.root[name].folder for name in names}
    own = phantom_root.resolve()
    return tuple(
        name
        for name, folder in folders.items()
        if is_phantom(folder) or folder.resolve().is_relative_to(own)
    )


def never_generated(
    names: Iterable[str], datasets: Datasets, phantom: PhantomSettings
) -> list[str]:
    """Return the datasets that a run on phantoms reads, and that the generator does not make."""
    return [
        name
        for name in names
        if name not in phantom.cases or Path(datasets.root[name].folder).is_absolute()
    ]
