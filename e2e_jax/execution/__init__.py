"""Execution of jobs on this machine or on a cluster, and storage of their results."""
