"""The GPU agent: reads the health of a host's NVIDIA devices, and tells it over HTTP."""
