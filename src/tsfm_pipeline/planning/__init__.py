"""What a dataset's shapes and spacings decide: target spacing, patch, batch, pooling."""
