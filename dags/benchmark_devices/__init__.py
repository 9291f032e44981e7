"""The DAG that measures variants of the stages against each other."""
