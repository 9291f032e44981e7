"""A C library that stands in for NVIDIA's libnvidia-ml, so that GPU health can be tested without a GPU."""
