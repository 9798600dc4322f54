"""The commands: parsing of options and printed output."""
