"""Benchmarks: the same media through several variants of the stages, in turns, with a check that outputs agree."""
