"""The whole preparation against nnU-Net v1's own functions, on committed references.

What is compared, and with what, is in tests/reference/preparation_parity.py.
"""

import json

from tests.reference.preparation_parity import HERE, differences


def test_nothing_is_further_from_nnunet_than_rounding() -> None:
    compared = list(differences())
    assert len(compared) > 30
    assert all(difference.compared > 0 for difference in compared)
    assert not [difference for difference in compared if difference.worst > difference.limit]


def test_the_references_hold_for_nnunet_v2_as_well() -> None:
    found = json.loads((HERE / "nnunet_preparation.json").read_text())["v2_difference"]
    assert set(found) == {"crop", "image", "labels", "ct", "z-score", "split"}
    assert not any(found.values())
