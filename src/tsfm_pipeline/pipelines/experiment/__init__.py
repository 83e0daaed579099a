"""The one train, predict, score template behind every experiment of the grid."""
