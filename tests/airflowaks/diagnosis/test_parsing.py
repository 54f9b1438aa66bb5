"""The dag-processor's own table, as Airflow 3.3 logs it, and what became of its files since."""

from __future__ import annotations

from airflowaks.diagnosis.facts.parsing import DagFile
from airflowaks.diagnosis.readers.parsing import _KILLED, _stored, _table
from airflowaks.diagnosis.readers.waiting import number

LOG = """\
2026-11-29T13:41:07.000000Z [info     ]
================================================================================
DAG File Processing Stats

Bundle       File Path      PID  Current Duration      # DAGs    # Errors  Last Duration    Last Run At
-----------  -----------  -----  ------------------  --------  ----------  ---------------  -------------------
dags-folder  old.py                                         1           0  0.39s            2026-11-29T13:40:11
================================================================================ [manager] loc=manager.py:1176
2026-11-29T13:41:37.792850Z [info     ]
================================================================================
DAG File Processing Stats

Bundle       File Path        PID  Current Duration      # DAGs    # Errors  Last Duration    Last Run At
-----------  -------------  -----  ------------------  --------  ----------  ---------------  -------------------
dags-folder  hangs.py       26879  15.30s                     0           1  50.19s           2026-11-29T13:40:52
dags-folder  a b/sales.py                                    24           0  0.19s            2026-11-29T13:41:34
dags-folder  new.py                                           0           0
================================================================================ [manager] loc=manager.py:1176
"""
KILLING = (
    "Processor for DagFileInfo(rel_path=PosixPath('hangs.py'), bundle_name='dags-folder', bundle_version=None) with PID"
    " 25112 has been running for 50.19 seconds, exceeding the timeout of 50.00 seconds. Killing it! [manager] loc=1638"
)


def test_the_last_table_is_read_and_one_that_is_cut_is_not() -> None:
    assert dict(_table(LOG.splitlines())) == {
        "hangs.py": DagFile(errors=1, seconds=50.19, reading=15.3, at="2026-11-29T13:40:52"),
        "a b/sales.py": DagFile(defined=24, seconds=0.19, at="2026-11-29T13:41:34"),
        "new.py": DagFile(),
    }
    assert not dict(_table(LOG.splitlines()[:4]))
    assert not dict(_table([]))


def test_a_file_that_was_parsed_after_the_table_has_no_error_any_more() -> None:
    file = DagFile(errors=1, seconds=50.0, reading=3.0, at="2026-11-29T13:40:52")
    assert _stored(file, 1, "2026-11-29T13:41:00") == DagFile(seconds=50.0, at=file.at, stored=1)
    assert _stored(file, 1, "2026-11-29T13:35:00") == DagFile(0, 1, 50.0, 3.0, 1, file.at)


def test_a_process_that_is_killed_names_its_file() -> None:
    match = _KILLED.search(KILLING)
    assert match
    assert match["file"] == "hangs.py"
    assert match["how"] == "has been running for 50.19 seconds, exceeding the timeout of 50.00 seconds. Killing it!"


def test_a_setting_that_is_no_number_hides_nothing() -> None:
    settings = {"AIRFLOW__CORE__PARALLELISM": "many", "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4"}
    assert [number(settings, name, 32) for name in (*settings, "NONE")] == [32, 4, 32]
