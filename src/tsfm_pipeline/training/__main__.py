"""Join a training: `torchrun --nproc-per-node 8 -m tsfm_pipeline.training MODEL_FOLDER`."""

import sys

from tsfm_pipeline.training.launch import train_folder

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: torchrun --nproc-per-node N -m tsfm_pipeline.training MODEL_FOLDER")
    train_folder(sys.argv[1])
