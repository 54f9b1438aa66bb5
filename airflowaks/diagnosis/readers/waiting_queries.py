"""The queries of the metadata database for what waits, each bounded by groups or a limit, whatever the tasks' number.

Tables and states are those of Airflow 3.3's `airflow/models`, the conditions those of
`SchedulerJobRunner._executable_task_instances_to_queued` (`airflow/jobs/scheduler_job_runner.py`) and of
`DagRun.get_queued_dag_runs_to_set_running` (`airflow/models/dagrun.py`).
"""

_DEFINITION = """
    SELECT coalesce(t.value->'__var'->'partial_kwargs', '{}') || (t.value->'__var') AS definition
    FROM (SELECT data FROM serialized_dag s WHERE s.dag_id = dag ORDER BY s.created_at DESC LIMIT 1) AS newest,
         LATERAL jsonb_array_elements(data::jsonb->'dag'->'tasks') t
    WHERE t.value->'__var'->>'task_id' = task LIMIT 1
"""
"""A task as the newest version of its DAG defines it; what a mapped task has is in `partial_kwargs`."""

TASKS = """
WITH usual AS (
    SELECT dag_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM start_date - queued_dttm)) AS seconds
    FROM (SELECT dag_id, start_date, coalesce(scheduled_dttm, queued_dttm) AS queued_dttm FROM task_instance
          WHERE state IN ('success', 'failed') AND start_date > coalesce(scheduled_dttm, queued_dttm)
          ORDER BY id DESC LIMIT 5000) AS recent
    GROUP BY dag_id
), active AS (
    SELECT dag_id, run_id, count(*) AS active FROM task_instance WHERE state IN ('running', 'queued') GROUP BY 1, 2
), requeued AS (
    SELECT dag_id, run_id, task_id, map_index, count(*)::int AS times, min(dttm) AS first FROM log
    WHERE event = 'stuck in queued reschedule' AND dttm > now() - interval '1 day' GROUP BY 1, 2, 3, 4
), single AS (
    SELECT ti.*, coalesce(requeued.times, 0) AS requeued, dr.state AS run_state, dr.run_after,
           dr.last_scheduling_decision, d.is_paused, d.is_stale, d.fileloc,
           d.max_active_tasks, d.has_task_concurrency_limits, coalesce(active.active, 0) AS active,
           trigger.classpath, triggerer.latest_heartbeat AS triggerer_at, scheduler.latest_heartbeat AS scheduler_at,
           coalesce(usual.seconds, 0) AS usual,
           extract(epoch FROM now() - CASE ti.state
               WHEN 'scheduled' THEN least(ti.scheduled_dttm, requeued.first)
               WHEN 'queued' THEN least(ti.queued_dttm, requeued.first)
               WHEN 'running' THEN ti.start_date WHEN 'up_for_retry' THEN ti.end_date
               WHEN 'deferred' THEN coalesce(trigger.created_date, ti.updated_at)
               ELSE coalesce(CASE WHEN ti.state IS NOT NULL THEN ti.updated_at END, dr.start_date, dr.queued_at) END
           ) AS waited
    FROM task_instance ti JOIN dag_run dr USING (dag_id, run_id) JOIN dag d USING (dag_id)
    LEFT JOIN active USING (dag_id, run_id) LEFT JOIN usual USING (dag_id)
    LEFT JOIN requeued ON ti.state IN ('scheduled', 'queued')
        AND (requeued.dag_id, requeued.run_id, requeued.task_id, requeued.map_index)
          = (ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    LEFT JOIN trigger ON trigger.id = ti.trigger_id
    LEFT JOIN job triggerer ON triggerer.id = trigger.triggerer_id
    LEFT JOIN job scheduler ON scheduler.id = ti.queued_by_job_id
    WHERE CASE WHEN %(dag)s = '' THEN ti.state IN ('scheduled', 'queued', 'deferred', 'up_for_retry',
                   'up_for_reschedule', 'awaiting_input')
                   OR (ti.state IS NULL AND dr.state = 'running' AND NOT EXISTS (
                       SELECT FROM task_instance busy WHERE busy.dag_id = ti.dag_id AND busy.run_id = ti.run_id
                       AND busy.state IN ('scheduled', 'queued', 'running', 'deferred', 'up_for_retry',
                           'up_for_reschedule', 'restarting', 'awaiting_input')))
               ELSE ti.dag_id = %(dag)s AND (%(run)s = '' OR ti.run_id = %(run)s)
                   AND (%(task)s = '' OR ti.task_id = %(task)s)
                   AND (%(task)s <> '' OR ti.state IS NULL OR ti.state NOT IN ('success', 'skipped', 'removed')) END
), long AS (
    SELECT * FROM single WHERE %(dag)s <> '' OR waited > greatest(%(floor)s, 3 * usual)
), groups AS (
    SELECT dag_id AS dag, coalesce(state, '') AS state, run_state, pool, pool_slots, coalesce(queue, '') AS queue,
           is_paused AS paused, is_stale AS stale, fileloc AS file, max_active_tasks, count(*)::int AS count,
           (array_agg(run_id ORDER BY waited DESC))[1] AS run, (array_agg(task_id ORDER BY waited DESC))[1] AS task,
           (array_agg(map_index ORDER BY waited DESC))[1] AS map_index,
           (array_agg(id ORDER BY waited DESC))[1] AS id, max(waited)::float AS seconds, max(usual)::float AS usual,
           max(active)::int AS active, max(try_number)::int AS attempt, max(max_tries)::int + 1 AS attempts,
           extract(epoch FROM now() - min(last_scheduling_decision))::float AS decided,
           extract(epoch FROM now() - max(run_after))::float AS run_due,
           max(requeued) AS requeued, coalesce(max(classpath), '') AS trigger,
           extract(epoch FROM now() - min(triggerer_at))::float AS triggerer,
           extract(epoch FROM now() - min(scheduler_at))::float AS queued_by, max(end_date) AS ended,
           max(retry_delay_override) AS retry_override, bool_or(has_task_concurrency_limits) AS bounded
    FROM long
    GROUP BY dag_id, state, run_state, pool, pool_slots, queue, is_paused, is_stale, fileloc, max_active_tasks,
             active >= max_active_tasks, classpath, triggerer_at IS NULL,
             CASE WHEN has_task_concurrency_limits OR %(dag)s <> '' THEN task_id END,
             CASE WHEN %(dag)s <> '' THEN run_id END
    ORDER BY max(waited) DESC LIMIT %(most)s
)
SELECT groups.*, bounds.*,
       (SELECT count(*) FROM task_instance ti
        WHERE groups.bounded AND ti.dag_id = groups.dag AND ti.task_id = groups.task
        AND ti.state IN ('running', 'queued', 'deferred', 'awaiting_input'))::int AS per_dag_active,
       (SELECT count(*) FROM task_instance ti
        WHERE groups.bounded AND ti.dag_id = groups.dag AND ti.task_id = groups.task AND ti.run_id = groups.run
        AND ti.state IN ('running', 'queued', 'deferred', 'awaiting_input'))::int AS per_run_active,
       CASE WHEN groups.state = 'up_for_retry' THEN
           extract(epoch FROM groups.ended - now())::float + coalesce(groups.retry_override, bounds.retry_delay, 300)
           END AS retry_in,
       (SELECT extract(epoch FROM max(reschedule_date) - now())::float FROM task_reschedule r
        WHERE groups.state = 'up_for_reschedule' AND r.ti_id = groups.id) AS reschedule_in
FROM groups LEFT JOIN LATERAL (
    SELECT (definition->>'max_active_tis_per_dag')::int AS per_dag,
           (definition->>'max_active_tis_per_dagrun')::int AS per_run,
           (definition->>'retry_delay')::float AS retry_delay,
           coalesce(definition->>'trigger_rule', 'all_success') AS rule,
           coalesce((definition->>'depends_on_past')::bool, FALSE) AS depends_on_past
    FROM (DEFINITION) AS task
) AS bounds ON TRUE
ORDER BY groups.seconds DESC
""".replace("DEFINITION", _DEFINITION)

RUNS = """
WITH usual AS (
    SELECT dag_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM start_date - queued_at)) AS seconds
    FROM (SELECT * FROM dag_run WHERE start_date > queued_at ORDER BY id DESC LIMIT 5000) AS recent GROUP BY dag_id
)
SELECT dr.dag_id AS dag, (array_agg(dr.run_id ORDER BY dr.queued_at))[1] AS run, dr.state AS run_state,
       count(*)::int AS count,
       max(extract(epoch FROM now() - coalesce(dr.start_date, dr.queued_at)))::float AS seconds,
       extract(epoch FROM now() - min(dr.last_scheduling_decision))::float AS decided,
       extract(epoch FROM now() - min(dr.run_after))::float AS run_due,
       d.is_paused AS paused, d.is_stale AS stale, d.fileloc AS file, d.max_active_tasks,
       coalesce(b.max_active_runs, d.max_active_runs) AS max_active_runs,
       coalesce(b.is_paused, FALSE) AS backfill_paused,
       ARRAY(SELECT r.run_id FROM dag_run r WHERE r.dag_id = dr.dag_id AND r.state = 'running'
             AND r.backfill_id IS NOT DISTINCT FROM b.id ORDER BY r.start_date LIMIT 100) AS running_runs
FROM dag_run dr JOIN dag d USING (dag_id) LEFT JOIN backfill b ON b.id = dr.backfill_id
     LEFT JOIN usual ON usual.dag_id = dr.dag_id
WHERE CASE WHEN %(dag)s = '' THEN dr.state = 'queued' AND dr.queued_at
               < now() - make_interval(secs => greatest(%(floor)s, 3 * coalesce(usual.seconds, 0)))
           ELSE dr.dag_id = %(dag)s AND CASE WHEN %(run)s = '' THEN dr.state = 'queued' ELSE dr.run_id = %(run)s END END
GROUP BY dr.dag_id, dr.state, b.id, b.max_active_runs, b.is_paused, d.is_paused, d.is_stale, d.fileloc,
         d.max_active_tasks, d.max_active_runs
ORDER BY seconds DESC LIMIT %(most)s
"""

DAGS = """
SELECT dag_id AS dag, extract(epoch FROM now() - next_dagrun_create_after)::float AS seconds, fileloc AS file,
       is_paused AS paused, is_stale AS stale, max_active_runs, '' AS run_state,
       ARRAY(SELECT r.run_id FROM dag_run r WHERE r.dag_id = dag.dag_id AND r.state IN ('queued', 'running')
             AND r.backfill_id IS NULL ORDER BY r.start_date LIMIT 100) AS running_runs
FROM dag
WHERE CASE WHEN %(dag)s = '' THEN NOT is_paused AND NOT is_stale
               AND coalesce(nullif(allowed_run_types::jsonb, 'null') ? 'scheduled', TRUE)
               AND next_dagrun_create_after < now() - make_interval(secs => %(floor)s)
           ELSE dag_id = %(dag)s AND %(run)s = '' END
ORDER BY seconds DESC NULLS LAST LIMIT %(most)s
"""

POOLS = """
SELECT p.pool AS name, p.slots AS total, coalesce(sum(ti.pool_slots), 0)::int AS taken
FROM slot_pool p LEFT JOIN task_instance ti ON ti.pool = p.pool
     AND (ti.state IN ('running', 'queued') OR (p.include_deferred AND ti.state = 'deferred'))
GROUP BY p.pool, p.slots
"""

HOLDERS = """
SELECT ranked.*, coalesce((definition->>'_is_sensor')::bool AND NOT (definition->>'reschedule')::bool, FALSE) AS sensor
FROM (
    SELECT name, dag_id AS dag, task_id AS task, count(*)::int AS count,
           max(extract(epoch FROM now() - coalesce(start_date, queued_dttm)))::float AS seconds,
           sum(count(*)) OVER (PARTITION BY name)::int AS taken,
           row_number() OVER (PARTITION BY name ORDER BY count(*) DESC, min(coalesce(start_date, queued_dttm))) AS place
    FROM (SELECT *, COLUMN AS name FROM task_instance WHERE state = ANY(%(states)s)) AS active
    GROUP BY name, dag_id, task_id
) AS ranked LEFT JOIN LATERAL (DEFINITION) AS task ON TRUE WHERE place <= 3
""".replace("DEFINITION", _DEFINITION)

JOBS = """
SELECT job_type AS type, extract(epoch FROM now() - max(latest_heartbeat))::float AS seconds,
       (count(*) FILTER (WHERE state = 'running' AND latest_heartbeat > now() - interval '30 s'))::int AS count
FROM job WHERE latest_heartbeat > now() - interval '1 day' GROUP BY job_type
"""

HOSTS = """
SELECT hostname AS host, extract(epoch FROM now() - max(latest_heartbeat))::float AS seconds
FROM job WHERE latest_heartbeat > now() - interval '1 day' GROUP BY hostname
"""

ACTIVE = "SELECT count(*)::int AS active FROM task_instance WHERE state IN ('running', 'queued')"

LONGEST = """
SELECT dag_id AS dag, task_id AS task, extract(epoch FROM now() - start_date)::float AS seconds FROM task_instance
WHERE state = 'running' ORDER BY start_date LIMIT 1
"""

UPSTREAM = """
SELECT task_id AS task, coalesce(state, '') AS state, count(*)::int AS count FROM task_instance
WHERE dag_id = %(dag)s AND run_id = %(run)s AND task_id = ANY(%(tasks)s) GROUP BY 1, 2 ORDER BY 1, 2
"""

PREVIOUS = """
SELECT previous.run_id AS run FROM dag_run previous JOIN dag_run this USING (dag_id)
WHERE this.dag_id = %(dag)s AND this.run_id = %(run)s AND previous.logical_date < this.logical_date
      AND NOT (%(catchup)s AND previous.run_type = 'manual')
ORDER BY previous.logical_date DESC LIMIT 1
"""
"""The run before, as `PrevDagrunDep` takes it: of a DAG with catchup, a run that nobody triggered by hand."""

DAG_NAMES = "SELECT dag_id AS dag FROM dag ORDER BY dag_id = %(dag)s DESC, last_parsed_time DESC LIMIT 5000"

HAS_RUN = "SELECT FROM dag_run WHERE dag_id = %(dag)s AND run_id = %(run)s"

LAST_RUNS = "SELECT run_id AS run FROM dag_run WHERE dag_id = %(dag)s ORDER BY id DESC LIMIT 3"

HAS_TASK = "SELECT FROM task_instance WHERE dag_id = %(dag)s AND run_id = %(run)s AND task_id = %(task)s LIMIT 1"
