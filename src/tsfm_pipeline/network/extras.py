"""Packages that only some networks need: the extra `baselines`."""

from importlib.util import find_spec

PACKAGES: dict[str, tuple[str, ...]] = {
    "swinunetr": ("monai", "einops"),
    "sam_med3d": ("medim", "appdirs", "requests"),
}
"""By the network's name. MONAI's SwinUNETR needs einops, too, which MONAI does not bring, and medim
requests."""


class MissingExtra(ValueError):
    """A network is another package's that is not installed."""


def require_packages(network: str) -> None:
    """Check, without importing them, that a network's packages are there.

    Raises:
        MissingExtra: one is not.
    """
    if reason := why_missing(network):
        raise MissingExtra(reason)


def why_missing(network: str) -> str | None:
    """Say which of a network's packages are not there; None where all are."""
    missing = [name for name in PACKAGES.get(network, ()) if find_spec(name) is None]
    if not missing:
        return None
    return (
        f'network {network} needs {" and ".join(missing)}; pip install "tsfm-pipeline[baselines]"'
    )
