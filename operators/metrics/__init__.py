"""What Prometheus scrapes: how the media database stands, and what Airflow's processes sent by OpenTelemetry."""
