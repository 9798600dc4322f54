"""The networks, one module per family; `building` makes one by its name."""
