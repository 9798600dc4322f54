"""The built-in studies, written with the same interface as a user's study."""
