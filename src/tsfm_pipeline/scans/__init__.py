"""From scans on disk and a released model folder to segmentations on disk, without any pool."""
