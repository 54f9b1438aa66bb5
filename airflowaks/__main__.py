"""`python -m airflowaks`: the console script `airflowaks`, where PATH does not lead to it."""

from airflowaks.cli import airflowaks

airflowaks()
