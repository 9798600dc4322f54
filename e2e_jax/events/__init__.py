"""Events: what is classified, as arrays in memory."""
