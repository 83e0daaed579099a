"""Where a training computes, and in which number format."""

import torch

from tsfm_pipeline.training.settings import TrainingSettings
from tsfm_pipeline.training.task import TrainingError


def choose_device(settings: TrainingSettings) -> torch.device:
    """Return the device asked for; raise TrainingError when it is not there."""
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise TrainingError("device is cuda, but torch sees no GPU; set device to auto or cpu")
    return torch.device("cuda" if available and settings.device != "cpu" else "cpu")


def autocast_type(settings: TrainingSettings, device: torch.device) -> torch.dtype | None:
    """Return the number format of the forward pass; None is float32 throughout."""
    if device.type == "cpu":
        if settings.amp in {"bf16", "fp16"}:
            raise TrainingError(
                f"amp {settings.amp} needs a GPU: on CPUs, torch's convolutions return NaN"
                " gradients on small grids in bf16 (2.13); set it to auto or off"
            )
        return None
    if settings.amp == "auto":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "off": None}[settings.amp]
