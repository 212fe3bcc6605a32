"""Handed-in notebooks, checked again, each in a sandbox: `python -m pgnotes recheck FOLDER`."""
