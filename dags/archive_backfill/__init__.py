"""The DAG that takes what is in the archive through every stage, by night or when it is asked to."""
