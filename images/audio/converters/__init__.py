"""Turns model files as they were fetched into folders that the stage loads. Runs while the image is built."""
