"""`python -m rehearsal_cloud`: the commands of `airflowaks rehearsal`, for programs.

Sessions, the daemon and kubectl start it this way: it needs neither PATH nor installed entry points.
"""

from rehearsal_cloud.server.cli import rehearsal

rehearsal()
