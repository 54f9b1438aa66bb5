"""The CronJob controller: creates the Jobs that are due, and deletes old ones beyond the history limits.

After https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/cronjob/cronjob_controllerv2.go
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar
from zoneinfo import ZoneInfo

from rehearsal_cloud.kubernetes.controllers import job_status
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.cron import Schedule
from rehearsal_cloud.kubernetes.controllers.metadata import key_of
from rehearsal_cloud.kubernetes.controllers.owners import controlled_by, controller_of, reference_to
from rehearsal_cloud.kubernetes.controllers.timestamps import moment, now, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

_SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"


class CronJobs(Controller):
    """Reconciles a CronJob when it changes, when a Job of it changes, and when it is due."""

    component = "cronjob-controller"
    watches: ClassVar[tuple[str, ...]] = ("CronJob", "Job")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the CronJob, or the owner of the Job."""
        if event.document["kind"] == "CronJob":
            yield key_of(event.document)
            return
        owner = controller_of(event.document)
        if owner is not None and owner["kind"] == "CronJob":
            yield event.document["metadata"]["namespace"], owner["name"]

    async def reconcile(self, key: Key) -> float | None:
        """Delete old Jobs, create the due Job, and return the seconds until the next."""
        namespace, name = key
        cron_job = self.objects.get("CronJob", name, namespace)
        if cron_job is None or "deletionTimestamp" in cron_job["metadata"]:
            return None
        owned = [job for job in self.objects.list("Job", namespace) if controlled_by(job, cron_job)]
        self._forget(cron_job, owned)
        cron_job = self._report(cron_job, owned)
        if cron_job["spec"].get("suspend"):
            return None
        schedule, present = Schedule.parse(cron_job["spec"]["schedule"]), _present(cron_job)
        due = _last_due(cron_job, schedule, present)
        if due is not None:
            self._start(cron_job, due, [job for job in owned if not job_status.ended(job)])
        following = schedule.next(present)
        return None if following is None else (following - now()).total_seconds()

    def _report(self, cron_job: Document, owned: list[Document]) -> Document:
        status: Document = cron_job.get("status") or {}
        ended = [job for job in owned if (job_status.condition(job, "Complete") or {}).get("status") == "True"]
        for reference in status.get("active") or ():
            job = next((job for job in owned if job["metadata"]["uid"] == reference["uid"]), None)
            if job is not None and job_status.ended(job):
                how = "Complete" if job in ended else "Failed"
                text = f"Saw completed job: {reference['name']}, condition: {how}"
                self.recorder.normal(cron_job, "SawCompletedJob", text)
        last = max((job["status"].get("completionTime", "") for job in ended), default="")
        active = [_reference(job) for job in owned if not job_status.ended(job)]
        fresh = {key: value for key, value in status.items() if key != "active"}
        fresh |= {"active": active} if active else {}
        fresh |= {"lastSuccessfulTime": last} if last > status.get("lastSuccessfulTime", "") else {}
        return cron_job if fresh == status else self.objects.update_status({**cron_job, "status": fresh})

    def _forget(self, cron_job: Document, owned: list[Document]) -> None:
        spec = cron_job["spec"]
        for how, limit in (
            ("Complete", spec.get("successfulJobsHistoryLimit", 3)),
            ("Failed", spec.get("failedJobsHistoryLimit", 1)),
        ):
            past = [job for job in owned if (job_status.condition(job, how) or {}).get("status") == "True"]
            past.sort(key=lambda job: job["status"].get("startTime", ""))
            for job in past[: max(0, len(past) - limit)]:
                self._delete(cron_job, job)
                owned.remove(job)

    def _start(self, cron_job: Document, due: datetime, active: list[Document]) -> None:
        spec, policy = cron_job["spec"], cron_job["spec"].get("concurrencyPolicy", "Allow")
        deadline = spec.get("startingDeadlineSeconds")
        if deadline is not None and (now() - due).total_seconds() > deadline:
            text = f"Missed scheduled time to start a job: {due.astimezone(UTC):%a, %d %b %Y %H:%M:%S +0000}"
            self.recorder.warning(cron_job, "MissSchedule", text)
            return
        if policy == "Forbid" and active:
            text = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self.recorder.normal(cron_job, "JobAlreadyActive", text)
            return
        if policy == "Replace":
            for job in active:
                self._delete(cron_job, job)
        metadata, template = cron_job["metadata"], spec["jobTemplate"]
        template_metadata = template.get("metadata") or {}
        name = f"{metadata['name']}-{int(due.timestamp()) // 60}"
        if self.objects.get("Job", name, metadata["namespace"]) is None:
            job_metadata = {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": template_metadata.get("labels") or {},
                "annotations": (template_metadata.get("annotations") or {}) | {_SCHEDULED: stamp(due)},
                "ownerReferences": [reference_to(cron_job)],
            }
            self.objects.create(
                {"apiVersion": "batch/v1", "kind": "Job", "metadata": job_metadata, "spec": template["spec"]}
            )
            self.recorder.normal(cron_job, "SuccessfulCreate", f"Created job {name}")
        current = self.objects.get("CronJob", metadata["name"], metadata["namespace"]) or cron_job
        status = {**(current.get("status") or {}), "lastScheduleTime": stamp(due)}
        self.objects.update_status({**current, "status": status})

    def _delete(self, cron_job: Document, job: Document) -> None:
        namespace, name = key_of(job)
        self.objects.delete("Job", name, namespace, uid=job["metadata"]["uid"])
        self.recorder.normal(cron_job, "SuccessfulDelete", f"Deleted job {name}")


def _present(cron_job: Document) -> datetime:
    """Return the current time in the CronJob's time zone."""
    zone = cron_job["spec"].get("timeZone")
    return now().astimezone(ZoneInfo(zone) if zone else UTC)


def _last_due(cron_job: Document, schedule: Schedule, present: datetime) -> datetime | None:
    """Return the latest time that the CronJob was due since it last ran, or None."""
    status = cron_job.get("status") or {}
    since = status.get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"]
    latest, due = None, schedule.next(moment(since).astimezone(present.tzinfo))
    while due is not None and due <= present:
        latest, due = due, schedule.next(due)
    return latest


def _reference(job: Document) -> Document:
    metadata = job["metadata"]
    return {
        "apiVersion": job["apiVersion"],
        "kind": "Job",
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }
