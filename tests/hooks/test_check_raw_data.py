"""Raw folders are looked for before anything is made, also beside phantoms."""

from types import SimpleNamespace

import pytest
from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.hooks.check_raw_data import CheckRawDataHook
from tsfm_pipeline.phantom.settings import PhantomSettings
from tsfm_pipeline.sources import Datasets
from tsfm_pipeline.sources.source import SourceError

INDEXING = Pipeline([Node(lambda root: root, "raw_data", "case_index", name="index_cases")])


@pytest.fixture
def check(tmp_path):
    """Run the hook on phantoms of kits19, with datasets of one's own beside them."""

    def run(raw_root="phantom", **folders: str) -> None:
        entry = {"layout": "msd", "labels": {1: "liver"}}
        folders = {"kits19": "kits19_phantoms", **folders}
        loaded = {
            "raw_root": tmp_path / raw_root,
            "phantom_root": tmp_path / "phantom",
            "params:phantom": PhantomSettings(cases={"kits19": 2}),
            "params:pool": SimpleNamespace(datasets=("kits19",), downstream=("own",)),
            "params:datasets": Datasets.model_validate(
                {name: {**entry, "folder": folder} for name, folder in folders.items()}
            ),
        }
        CheckRawDataHook().before_pipeline_run(INDEXING, SimpleNamespace(load=loaded.__getitem__))

    return run


def test_an_own_dataset_beside_phantoms_has_to_be_there(check, tmp_path) -> None:
    with pytest.raises(SourceError, match=r"1 of 1 datasets have no folder.*\nown \(.*/mine\)"):
        check(own=str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    check(own=str(tmp_path / "mine"))
    with pytest.raises(SourceError, match=r"own \(not_made\)"):
        check(own="not_made")  # the generator would not make it
    with pytest.raises(SourceError, match=r"kits19 \(.*/download\)"):
        check(own=str(tmp_path / "mine"), kits19=str(tmp_path / "download"))
    assert not (tmp_path / "phantom").exists()


def test_without_phantoms_all_have_to_be_there(check, tmp_path) -> None:
    with pytest.raises(SourceError, match=r"there is no folder .*/raw"):
        check("raw", own="mine")
    (tmp_path / "raw" / "mine").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"1 of 2 datasets .*\nkits19 \(kits19_phantoms\)"):
        check("raw", own="mine")
