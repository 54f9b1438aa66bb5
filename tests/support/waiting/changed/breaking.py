"""A DAG's airflow file after somebody broke it."""

from airflow.sdk import nothing_of_that_name

nothing_of_that_name()
