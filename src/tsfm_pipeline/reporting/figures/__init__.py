"""The report's pictures; each comes with the table of what it shows."""
