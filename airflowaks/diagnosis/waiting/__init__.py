"""Why something in Airflow does not run: reasons in the order in which Airflow decides, and the answer."""
