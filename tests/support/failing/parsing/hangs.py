"""An airflow file that hangs, and catches what is to end it; its dag is never made."""

import time
from contextlib import suppress

while True:
    with suppress(BaseException):
        time.sleep(1)
