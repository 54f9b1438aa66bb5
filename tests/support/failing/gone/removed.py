# An airflow file without a dag any more.
