"""Checkpoints that others have published: read without unpickling, under our names."""
