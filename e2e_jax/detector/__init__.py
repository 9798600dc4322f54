"""The CMS detector: ids, geometry tables, and the images made from hits."""
