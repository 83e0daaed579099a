"""From a trained model and a prepared volume to a label map on the original grid."""
