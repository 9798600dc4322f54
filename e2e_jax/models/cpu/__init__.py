"""Networks in C++ for CPUs."""
