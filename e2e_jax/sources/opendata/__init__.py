"""CMS Open Data: file lists, the first pass over the files, and the hits of the chosen events."""
