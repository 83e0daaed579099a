"""Where a training computes, and in which number format."""

import torch

from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.training.task import TrainingError

_SETTINGS = "experiments.<role>.training"
"""Where a user sets them, for messages."""


def choose_device(settings: TrainingSettings, number: int = 0) -> torch.device:
    """Return the device asked for, with that number if it is a GPU.

    Raises:
        TrainingError: it is not there, or the machine has fewer GPUs than processes.
    """
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise TrainingError(
            f"{_SETTINGS}.device is cuda, but torch sees no GPU; set it to auto or cpu"
        )
    if not available or settings.device == "cpu":
        return torch.device("cpu")
    wanted, found = settings.parallel.processes, torch.cuda.device_count()
    if wanted > found:
        raise TrainingError(
            f"{_SETTINGS}.parallel.processes is {wanted}, but this machine has {found} GPU(s);"
            f" set it to {found}, or {_SETTINGS}.device to cpu"
        )
    return torch.device("cuda", number)


def autocast_type(settings: TrainingSettings, device: torch.device) -> torch.dtype | None:
    """Return the number format of the forward pass; None is float32."""
    if device.type == "cpu":
        if settings.amp in {"bf16", "fp16"}:
            raise TrainingError(
                f"{_SETTINGS}.amp {settings.amp} needs a GPU: on CPUs, torch's convolutions return"
                " NaN gradients on small grids in bf16 (2.13); set it to auto or off"
            )
        return None
    if settings.amp == "auto":
        # older GPUs hold such numbers, too, but compute them slowly
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "off": None}[settings.amp]
