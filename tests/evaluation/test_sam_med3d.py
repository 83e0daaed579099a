"""SAM-Med3D in the prompted protocol: orientation, clicks, masks fed back, checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm_pipeline.evaluation.prompted import SIDE, Click
from tsfm_pipeline.evaluation.sam_med3d import SamMed3DSegmenter, sam_med3d_segmenter
from tsfm_pipeline.model.published import sam_med3d
from tsfm_pipeline.model.published.reading import PublishedError
from tsfm_pipeline.network import sam_med3d as network_module
from tsfm_pipeline.network.extras import MissingExtra

CPU = torch.device("cpu")
PUBLISHED = json.loads(
    (Path(__file__).parents[1] / "reference" / "published_checkpoints.json").read_text()
)


class Recorder(nn.Module):
    """Stands for the network; outlines what is bright, and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[Tensor] = []
        self.prompts: list[tuple[Tensor, Tensor, Tensor]] = []
        self.prompt_encoder = _Prompts(self)

    def image_encoder(self, image: Tensor) -> Tensor:
        self.images.append(image)
        return F.avg_pool3d(image, 4)

    def mask_decoder(self, **given: Tensor) -> tuple[Tensor, None]:
        assert given["image_pe"] == "pe"
        return given["image_embeddings"] + len(self.prompts), None


class _Prompts(nn.Module):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.prompts = recorder.prompts

    def forward(self, points: tuple[Tensor, Tensor], boxes: None, masks: Tensor) -> tuple[str, str]:
        self.prompts.append((*points, masks))
        return "sparse", "dense"

    def get_dense_pe(self) -> str:
        return "pe"


def _image() -> np.ndarray:
    image = np.zeros((SIDE,) * 3, np.float32)
    image[4:8, 40:44, 100:104] = 1  # near the feet, the middle, to the left
    return image


def test_the_network_sees_x_to_the_right_y_to_the_front_z_to_the_head() -> None:
    network = Recorder()
    click = Click((5, 41, 102), positive=True)
    logits = SamMed3DSegmenter(network, CPU)(_image(), (click,), None)
    (seen,) = network.images
    assert seen.shape == (1, 1, SIDE, SIDE, SIDE)
    bright = seen[0, 0].nonzero()
    # LPS (z, y, x) to RAS (x, y, z): 127 - 103 to 127 - 100, 127 - 43 to 127 - 40, 4 to 7
    assert bright.min(0).values.tolist() == [24, 84, 4]
    assert bright.max(0).values.tolist() == [27, 87, 7]
    ((places, kinds, mask),) = network.prompts
    assert places.tolist() == [[[127 - 102, 127 - 41, 5]]]
    assert kinds.tolist() == [[1]]
    assert mask.shape == (1, 1, 32, 32, 32)
    assert not mask.any()
    # back in (z, y, x), the block is where it was
    assert logits.shape == (SIDE,) * 3
    assert np.unravel_index(logits.argmax(), logits.shape) in {
        (z, y, x) for z in range(4, 8) for y in range(40, 44) for x in range(100, 104)
    }


def test_later_clicks_get_the_networks_own_small_mask_and_the_same_image() -> None:
    network = Recorder()
    segmenter = SamMed3DSegmenter(network, CPU)
    first, second = Click((5, 41, 102), positive=True), Click((9, 9, 9), positive=False)
    logits = segmenter(_image(), (first,), None)
    segmenter(_image(), (first, second), logits)
    assert len(network.images) == 1
    places, kinds, mask = network.prompts[1]
    assert places.shape == (1, 2, 3)
    assert kinds.tolist() == [[1, 0]]
    torch.testing.assert_close(mask, F.avg_pool3d(network.images[0], 4) + 1)
    segmenter(_image() + 1, (first,), None)  # the next target
    assert len(network.images) == 2
    assert not network.prompts[2][2].any()


def test_without_medim_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"model_state_dict": {"a": torch.ones(1)}}, tmp_path / "sam_med3d_turbo.pth")
    monkeypatch.setattr("tsfm_pipeline.network.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"medim.*tsfm-pipeline\[baselines\]"):
        sam_med3d_segmenter(tmp_path / "sam_med3d_turbo.pth", CPU)


def test_only_its_own_checkpoints_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def linear() -> nn.Module:
        return nn.Linear(3, 2)

    monkeypatch.setattr(sam_med3d, "build_sam_med3d", linear)
    path = tmp_path / "turbo.pth"
    given = nn.Linear(3, 2)
    torch.save({"epoch": 1, "model_state_dict": given.state_dict()}, path)
    network = sam_med3d.load_sam_med3d(path)
    assert not network.training
    assert torch.equal(network.weight, given.weight)
    for wrong, said in [
        (nn.Linear(3, 4), r"weight, \(4, 3\) in the file and \(2, 3\) here"),
        (nn.Linear(3, 2, bias=False), r"bias, absent in the file and \(2,\) here"),
        (nn.Sequential(nn.Linear(3, 2)), r"begins with 0\.weight \(2, 3\), 0\.bias"),
    ]:
        torch.save({"model_state_dict": wrong.state_dict()}, path)
        with pytest.raises(PublishedError, match=said):
            sam_med3d.load_sam_med3d(path)


def test_the_public_network_has_the_published_tensors() -> None:
    pytest.importorskip("medim", reason="the extra `baselines` is not installed")
    with torch.device("meta"):
        network = network_module.build_sam_med3d()
    found = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert found == PUBLISHED["sam_med3d"]
    # README and facts: vit_b_ori has 100.51 M
    assert sum(p.numel() for p in network.parameters()) == 100_509_232


def test_a_checkpoint_of_true_names_and_shapes_fills_the_network(tmp_path: Path) -> None:
    pytest.importorskip("medim", reason="the extra `baselines` is not installed")
    path = tmp_path / "sam_med3d_turbo.pth"
    given = {  # a value for each tensor, expanded to its shape: the file is small
        name: torch.tensor(float(number)).expand(shape)
        for number, (name, shape) in enumerate(PUBLISHED["sam_med3d"].items())
    }
    torch.save({"model_state_dict": given, "epoch": 1}, path)
    sam_med3d.check_sam_med3d(path)
    network = sam_med3d.load_sam_med3d(path)
    assert not network.training
    loaded = network.state_dict()
    assert loaded.keys() == given.keys()
    for name, tensor in loaded.items():
        assert tensor.min() == tensor.max() == given[name].flatten()[0], name

    last = list(given)[-1]
    torch.save({"model_state_dict": {**given, last: torch.zeros(7)}}, path)
    for read in (sam_med3d.check_sam_med3d, sam_med3d.load_sam_med3d):
        with pytest.raises(PublishedError, match=rf"{last}, \(7,\) in the file"):
            read(path)
