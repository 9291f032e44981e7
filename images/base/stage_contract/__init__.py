"""What Airflow's side and a stage container agree on: files in, files out, exit codes.

Imports nothing beyond the standard library and pydantic, so that both sides can hold the same code.
"""
