"""What `make` runs on the host: the engine, images, wheels, models, the services. Standard library and `rich` only."""
