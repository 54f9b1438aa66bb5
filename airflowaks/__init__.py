"""An interactive runbook that takes an Azure subscription from nothing to a healthy Apache Airflow 3 on AKS."""
