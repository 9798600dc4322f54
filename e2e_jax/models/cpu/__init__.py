"""ResNet-15 in C++ for CPUs: the source, and the library that is made of it on the user's machine."""
