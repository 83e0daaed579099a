"""The networks: their blocks, named sizes and what they cost. Importing this loads no torch."""
