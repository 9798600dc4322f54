"""CMS Open Data: lists of files, the first pass over them, and the hits of chosen events."""
