"""The commands: parsing of their options and what they print."""
