"""The networks, one module per family; `building` constructs a network by name."""
