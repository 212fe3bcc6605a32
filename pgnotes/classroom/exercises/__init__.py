"""One file a lesson: its exercises, the right functions, and the slips they know."""
