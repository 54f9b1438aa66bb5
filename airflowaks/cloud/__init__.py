"""Access to the cloud: connection, error mapping, redaction, database URLs and Airflow's REST API."""
