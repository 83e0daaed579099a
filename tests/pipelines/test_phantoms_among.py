"""Which datasets are synthetic where phantoms and real ones are mixed."""

from tsfm_pipeline.phantom.generate import generate_phantoms
from tsfm_pipeline.phantom.settings import PhantomSettings
from tsfm_pipeline.pipelines.phantom.datasets import phantoms_among
from tsfm_pipeline.sources import Datasets


def test_real_datasets_beside_phantoms_are_no_phantoms(tmp_path) -> None:
    root = tmp_path / "phantom"
    generate_phantoms(PhantomSettings(cases={"kits19": 1}, spacing_scale=2.0), root)
    (tmp_path / "mine").mkdir()
    (root / "linked").symlink_to(tmp_path / "mine")
    folders = {"kits19": "kits19", "own": str(tmp_path / "mine"), "linked": "linked"}
    entry = {"layout": "msd", "labels": {1: "liver"}}
    datasets = Datasets.model_validate(
        {name: {**entry, "folder": folder} for name, folder in folders.items()}
    )
    names = ["own", "kits19", "linked"]
    assert phantoms_among(names, datasets, root, root) == ("kits19",)
    # the phantoms of another project, and phantoms that were deleted
    assert phantoms_among(names, datasets, root, tmp_path / "elsewhere") == ("kits19",)
    gone = tmp_path / "gone"
    assert phantoms_among(names, datasets, gone, gone) == ("kits19", "linked")
    assert phantoms_among(names, datasets, gone, root) == ()
