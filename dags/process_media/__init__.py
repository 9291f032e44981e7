"""The DAGs that take media files through every stage."""
