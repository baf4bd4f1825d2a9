"""One loop, tasks for it, and everything a run leaves on disk."""
