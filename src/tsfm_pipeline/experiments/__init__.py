"""What is trained, from what, for how long: the grid behind the tables, and one run of it."""
