import shutil

import pytest

from tests.scans.conftest import body, write_model
from tsfm_pipeline.model.folder import ModelError
from tsfm_pipeline.scans.registry import find_model, register, registered, registry
from tsfm_pipeline.scans.segment import segment


def test_a_name_finds_the_release_that_was_registered_last(tmp_path, model, monkeypatch):
    monkeypatch.setenv("TSFM_MODELS", str(tmp_path / "models"))
    releases = [tmp_path / "old" / "tsfm-tiny-demo", tmp_path / "new" / "tsfm-tiny-demo"]
    for release in releases:
        shutil.copytree(model, release)
        assert register(release) == "tsfm-tiny-demo"
    assert registered() == ["tsfm-tiny-demo"]
    assert find_model("tsfm-tiny-demo").path.resolve() == releases[1].resolve()
    assert segment(body(), "tsfm-tiny-demo").names == segment(body(), model).names
    with pytest.raises(ModelError, match="did you mean tsfm-tiny-demo"):
        find_model("tsfm-tinydemo")
    shutil.rmtree(releases[1])
    assert registered() == []
    with pytest.raises(ModelError, match="it knows none"):
        find_model("tsfm-tiny-demo")


def test_a_model_that_was_put_into_the_registry_is_never_replaced(tmp_path, model, monkeypatch):
    monkeypatch.setenv("TSFM_MODELS", str(tmp_path / "models"))
    shutil.copytree(model, tmp_path / "models" / "weights")
    with pytest.raises(ModelError, match="give the release another name"):
        register(model)
    assert register(tmp_path / "models" / "weights") == "weights"
    assert not (tmp_path / "models" / "weights").is_symlink()


def test_names_stand_where_xdg_keeps_data(tmp_path, monkeypatch):
    monkeypatch.delenv("TSFM_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert registry() == tmp_path / "tsfm" / "models"


def test_a_folder_that_holds_one_model_stands_for_it(tmp_path):
    write_model(tmp_path / "pretrain.tsfm" / "aa11")
    assert find_model(tmp_path / "pretrain.tsfm").path.name == "aa11"
    write_model(tmp_path / "pretrain.tsfm" / "bb22")
    with pytest.raises(ModelError, match=r"holds 2 models; name one of them: .*aa11, .*bb22"):
        find_model(tmp_path / "pretrain.tsfm")
