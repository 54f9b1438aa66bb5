"""The Job controller: runs pods until enough have succeeded, too many have failed, or the deadline has passed.

Pods carry a finalizer until they are counted, so that no pod is lost or counted twice:
https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-tracking-with-finalizers
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers import job_status, pods
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.job_status import FINALIZER, Verdict
from rehearsal_cloud.kubernetes.controllers.metadata import key_of, with_metadata
from rehearsal_cloud.kubernetes.controllers.owners import claimed, controller_of
from rehearsal_cloud.kubernetes.controllers.timestamps import seconds_since, stamp
from rehearsal_cloud.kubernetes.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

_FIRST_BACK_OFF_SECONDS = 10.0
_LONGEST_BACK_OFF_SECONDS = 600.0


class Jobs(Controller):
    """Makes a job's pods, counts how they end, and ends the job."""

    component = "job-controller"
    watches: ClassVar[tuple[str, ...]] = ("Job", "Pod")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the Job, or the owner of the pod."""
        if event.document["kind"] == "Job":
            yield key_of(event.document)
            return
        # The previous version too: an orphaned pod still has the finalizer.
        for pod in (event.document, event.previous):
            owner = controller_of(pod) if pod is not None else None
            if owner is not None and owner["kind"] == "Job":
                yield event.document["metadata"]["namespace"], owner["name"]

    async def reconcile(self, key: Key) -> float | None:
        """Count the ended pods, then end the Job or create the missing pods."""
        namespace, name = key
        job = self.objects.get("Job", name, namespace)
        self._release_orphans(namespace)
        if job is None:
            return None
        if job_status.ended(job):
            self._release(self._pods(job))
            return self._expire(job)
        if "deletionTimestamp" in job["metadata"]:
            self._release(self._pods(job))
            return None
        job = self._started(job)
        job = self._counted(job)
        verdict = job_status.verdict(job, self._pods(job))
        if verdict is not None:
            self._end(job, verdict)
            return None
        if job["spec"].get("suspend"):
            self._suspend(job)
            return None
        return self._manage(job)

    def _pods(self, job: Document) -> list[Document]:
        return claimed(self.objects, "Pod", job)

    def _active(self, job: Document) -> list[Document]:
        return [pod for pod in self._pods(job) if pods.is_active(pod)]

    # Counting

    def _started(self, job: Document) -> Document:
        status = job.get("status") or {}
        if job["spec"].get("suspend"):
            return job
        if "startTime" not in status:
            return self.objects.update_status({**job, "status": {**status, "startTime": stamp()}})
        if (job_status.condition(job, "Suspended") or {}).get("status") == "True":
            resumed = job_status.with_condition(status, "Suspended", "False", "JobResumed", "Job resumed")
            self.recorder.normal(job, "Resumed", "Job resumed")
            return self.objects.update_status({**job, "status": resumed | {"startTime": stamp()}})
        return job

    def _counted(self, job: Document) -> Document:
        """Count the ended pods; after a crash at any step, the next start continues."""
        status = job.get("status") or {}
        waiting = status.get("uncountedTerminatedPods") or {}
        noted = {way: list(waiting.get(way) or ()) for way in ("succeeded", "failed")}
        fresh = [pod for pod in self._pods(job) if FINALIZER in (pod["metadata"].get("finalizers") or ())]
        for pod in fresh:
            way = job_status.outcome(job, pod)
            uid = pod["metadata"]["uid"]
            if way and not any(uid in uids for uids in noted.values()):
                noted[way].append(uid)
        if any(noted.values()):
            status = {**status, "uncountedTerminatedPods": {way: uids for way, uids in noted.items() if uids}}
            job = self.objects.update_status({**job, "status": status})
        over = [pod for pod in fresh if pods.is_done(pod) or pods.is_terminating(pod)]
        self._release(over)
        sums = {way: status.get(way, 0) + len(uids) for way, uids in noted.items()}
        living = self._pods(job)
        active = [pod for pod in living if pods.is_active(pod)]
        counts = sums | {
            "active": len(active),
            "terminating": sum(pods.is_terminating(pod) and not pods.is_done(pod) for pod in living),
            "ready": sum(map(pods.is_ready, active)),
        }
        shown = {key: count for key, count in counts.items() if count or key in ("ready", "terminating")}
        unchanged = {key: value for key, value in status.items() if key not in counts}
        status = {**unchanged, **shown, "uncountedTerminatedPods": {}}
        return self.objects.update_status({**job, "status": status})

    def _release(self, counted: list[Document]) -> None:
        for pod in counted:
            kept = pod["metadata"].get("finalizers") or []
            if FINALIZER in kept:
                self.objects.update(with_metadata(pod, finalizers=[name for name in kept if name != FINALIZER]))

    def _release_orphans(self, namespace: str) -> None:
        """Remove the finalizer from the pods of a deleted Job: nothing counts them."""
        for pod in self.objects.list("Pod", namespace):
            owner = controller_of(pod)
            job = self.objects.get("Job", owner["name"], namespace) if owner and owner["kind"] == "Job" else None
            if job is None or (owner and job["metadata"]["uid"] != owner["uid"]):
                self._release([pod])

    # Ending

    def _end(self, job: Document, verdict: Verdict) -> None:
        """Delete the running pods, record the outcome, and end the Job when no pod runs any more."""
        self._delete(job, self._active(job), quiet=True)
        job = self._counted(self.objects.get("Job", job["metadata"]["name"], job["metadata"]["namespace"]) or job)
        status = job["status"]
        first = "SuccessCriteriaMet" if verdict.succeeded else "FailureTarget"
        status = job_status.with_condition(status, first, "True", verdict.reason, verdict.message)
        if not any(pods.is_terminating(pod) and not pods.is_done(pod) for pod in self._pods(job)):
            last = "Complete" if verdict.succeeded else "Failed"
            status = job_status.with_condition(status, last, "True", verdict.reason, verdict.message)
            if verdict.succeeded:
                status |= {"completionTime": stamp()}
                self.recorder.normal(job, "Completed", "Job completed")
            else:
                self.recorder.warning(job, verdict.reason, verdict.message)
        self.objects.update_status({**job, "status": status})

    def _expire(self, job: Document) -> float | None:
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        if seconds is None or "deletionTimestamp" in job["metadata"]:
            return None
        remaining: float = seconds - seconds_since(job_status.ended(job))
        if remaining > 0:
            return remaining
        namespace, name = key_of(job)
        self.objects.delete("Job", name, namespace, propagation="Foreground", uid=job["metadata"]["uid"])
        return None

    # Running

    def _suspend(self, job: Document) -> None:
        self._delete(job, self._active(job))
        status = self._counted(job)["status"]
        if (job_status.condition(job, "Suspended") or {}).get("status") != "True":
            status = job_status.with_condition(status, "Suspended", "True", "JobSuspended", "Job suspended")
            status = {key: value for key, value in status.items() if key != "startTime"}
            self.objects.update_status({**job, "status": status})
            self.recorder.normal(job, "Suspended", "Job suspended")

    def _manage(self, job: Document) -> float | None:
        active = self._active(job)
        desired = job_status.desired_active(job, len(active))
        if len(active) > desired:
            self._delete(job, active[desired:])
            self._counted(job)
        elif len(active) < desired:
            wait = self._back_off(job)
            if wait > 0:
                return wait
            self._make(job, desired - len(active))
            self._counted(self.objects.get("Job", job["metadata"]["name"], job["metadata"]["namespace"]) or job)
        return job_status.seconds_left(job)

    def _back_off(self, job: Document) -> float:
        """Return the seconds to wait before the next pod, from the failures since the last success."""
        ends = [(job_status.ended_at(pod), pods.phase(pod)) for pod in self._pods(job) if pods.is_done(pod)]
        last_success = max((when for when, phase in ends if phase == "Succeeded"), default="")
        failures = [when for when, phase in ends if phase == "Failed" and when > last_success]
        if not failures:
            return 0.0
        wait = min(_FIRST_BACK_OFF_SECONDS * 2 ** (len(failures) - 1), _LONGEST_BACK_OFF_SECONDS)
        return self.cluster.cloud.settings.scaled(wait) - seconds_since(max(failures))

    def _make(self, job: Document, count: int) -> None:
        for _ in range(count):
            pod = pods.from_template(job["spec"]["template"], job)
            finalizers = [*(pod["metadata"].get("finalizers") or ()), FINALIZER]
            try:
                created = self.objects.create(with_metadata(pod, finalizers=finalizers))
            except Failure as failure:
                self.recorder.warning(job, "FailedCreate", f"Error creating: {failure.message}")
                raise
            self.recorder.normal(job, "SuccessfulCreate", f"Created pod: {created['metadata']['name']}")

    def _delete(self, job: Document, surplus: list[Document], *, quiet: bool = False) -> None:
        for pod in surplus:
            namespace, name = key_of(pod)
            self.objects.delete("Pod", name, namespace, uid=pod["metadata"]["uid"])
            if not quiet:
                self.recorder.normal(job, "SuccessfulDelete", f"Deleted pod: {name}")
