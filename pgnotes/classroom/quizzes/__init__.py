"""One file a lesson: its questions."""
