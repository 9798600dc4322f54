"""Files that others published."""
