"""The TSFM network: its blocks, its named sizes and what they cost. Importing this loads no torch."""
