"""An airflow file that takes longer than its import may; its dag is never made."""

import time

time.sleep(60)
