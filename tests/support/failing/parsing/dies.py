"""An airflow file that ends the process which reads it; its dag is never made."""

import os

os._exit(1)
