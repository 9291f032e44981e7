"""What DAGs are built from."""
