"""The studies that are built in, written as a user writes one."""
