"""The drawing shows the module that runs."""

import re
from pathlib import Path

from tsfm_pipeline.network.diagram import diagram
from tsfm_pipeline.network.sizes import NETWORKS, PAPER_PATCH, SIZES

DOCS = Path(__file__).parents[2] / "docs" / "network.md"


def test_docs_show_todays_network() -> None:
    (shown,) = re.findall(r"```mermaid\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert shown == diagram(SIZES["huge"], 1, 30, PAPER_PATCH)


def test_shapes_and_blocks_of_another_size() -> None:
    text = diagram(SIZES["tiny"], 4, 3, (32, 48, 64))
    for line in (
        'image["image<br/>4 channels, 32 x 48 x 64"]',
        'encoder0["A<br/>8 channels, 32 x 48 x 64"]',
        'encoder4["C<br/>128 channels, 2 x 3 x 4"]',
        'bottleneck["D, 2 layers of width 96<br/>128 channels, 2 x 3 x 4"]',
        'decoder2["1 B<br/>32 channels, 8 x 12 x 16"]',
        'head1["F<br/>3 channels, 16 x 24 x 32"]',
        "encoder3 -- skip --> decoder3",
    ):
        assert line in text


def test_without_the_transformer_the_bottleneck_says_so() -> None:
    size = NETWORKS["tsfm_without_transformer"]["tiny"]
    assert 'bottleneck["no D<br/>128 channels, 2 x 3 x 4"]' in diagram(size, 1, 3, (32, 48, 64))
