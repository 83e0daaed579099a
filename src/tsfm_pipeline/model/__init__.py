"""A model as training leaves it and inference finds it: the folder, its card and its summary."""
