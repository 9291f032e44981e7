-- Two databases with an owner each: Airflow's own, and the media catalog. Neither owner can enter the other's.
-- Runs once, as the superuser, when the database cluster is made.
\getenv airflow_password AIRFLOW_DB_PASSWORD
\getenv media_password MEDIA_DB_PASSWORD

CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE ROLE media LOGIN PASSWORD :'media_password';

CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE media OWNER media;

REVOKE CONNECT ON DATABASE airflow FROM PUBLIC;
REVOKE CONNECT ON DATABASE media FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
