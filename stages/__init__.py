"""Files in, files out: one program a stage, run as `python -m stages.NAME`."""
