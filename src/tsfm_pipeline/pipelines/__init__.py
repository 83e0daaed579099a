"""Kedro pipelines: wiring (`pipeline.py`) and thin nodes that call the library packages."""
