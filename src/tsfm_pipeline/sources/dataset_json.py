"""dataset.json, which many publishers ship: read with care, since its text comes from strangers."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from tsfm_pipeline.sources.source import SourceError

NAME = "dataset.json"
Header = TypeVar("Header", bound=BaseModel)


def read_header(dataset: str, root: Path, model: type[Header]) -> Header:
    """Read `root/dataset.json` as `model`; raise SourceError with a remedy where that fails."""
    path = root / NAME
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SourceError(
            f"datasets.{dataset}: {path} can't be read as the header of this layout: {error}."
            " Every folder of this layout needs one; download it again or write it."
        ) from error


def numbered_labels(labels: Mapping[str, object]) -> dict[int, str]:
    """Return value -> name of labels listed as {"1": "liver"}; other entries are passed over."""
    return {int(value): str(name) for value, name in labels.items() if value.strip().isdecimal()}


def climbs_out(text: str) -> bool:
    """Whether a listed path is absolute or leads out of the dataset's folder."""
    path = Path(os.path.normpath(text))  # lexical: nothing outside is even looked at
    return path.is_absolute() or path.parts[:1] == (os.pardir,)


def listed(root: Path, text: str) -> Path:
    """Return the file that a listed path names, its `..` resolved by the text alone."""
    return root / os.path.normpath(text)


def climbing(*texts: str) -> str:
    """Return the `problem` text of listed paths that climb out of the folder; empty for none."""
    bad = [text for text in texts if climbs_out(text)]
    if not bad:
        return ""
    return (
        f"{NAME} lists {', '.join(map(repr, bad))}, which lies outside the dataset's folder and is"
        " not read. Put the file into the folder and correct the path."
    )
