"""Stages `media.probe` (what a file is) and `media.extract` (its sound), both with ffmpeg."""
