"""How the cloud is reached: connection, error mapping, redaction, database URLs and Airflow's REST API."""
