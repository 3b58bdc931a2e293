"""Data that the package ships: the pinned price catalogue."""
