"""Rules of jobs and cron jobs."""

from __future__ import annotations

import re
import zoneinfo
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.defaults.workloads import generated_labels
from rehearsal_cloud.kubernetes.objects.selectors import matches_selector
from rehearsal_cloud.kubernetes.objects.validation import pods
from rehearsal_cloud.kubernetes.objects.validation.causes import (
    invalid,
    not_negative,
    not_supported,
    required,
    unchanged,
)
from rehearsal_cloud.kubernetes.objects.validation.names import selector, supported
from rehearsal_cloud.kubernetes.objects.validation.workloads import template_labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_COUNTS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
_CRON_FIELDS = 5
_CRON_FIELD = re.compile(r"(\*|\?|[\dA-Za-z]+(-[\dA-Za-z]+)?)(/\d+)?(,(\*|[\dA-Za-z]+(-[\dA-Za-z]+)?)(/\d+)?)*")
_CRON_WORDS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def job(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a job."""
    spec = document["spec"]
    yield from _generated(document)
    yield from _job_spec("spec", spec)
    if "selector" not in spec:
        yield required("spec.selector")
    else:
        wrong = list(selector("spec.selector", spec["selector"]))
        yield from wrong or template_labels(spec)
    if old:
        kept = old["spec"]
        for name in ("completions", "selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"):
            if spec.get(name) != kept.get(name):
                yield invalid(f"spec.{name}", spec.get(name), "field is immutable")
        suspended = bool(kept.get("suspend"))
        yield from unchanged("spec.template", _fixed(spec, suspended=suspended), _fixed(kept, suspended=suspended))


def cron_job(document: Document, _old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a cron job."""
    spec = document["spec"]
    if spec.get("schedule"):
        yield from _schedule(spec["schedule"])
    else:
        yield required("spec.schedule")
    zone = spec.get("timeZone")
    if zone is not None and zone not in zoneinfo.available_timezones():
        yield invalid("spec.timeZone", zone, f"unknown time zone {zone}")
    yield from not_negative("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    yield from supported("spec.concurrencyPolicy", spec["concurrencyPolicy"], "Allow", "Forbid", "Replace")
    for name in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from not_negative(f"spec.{name}", spec.get(name))
    yield from _job_spec("spec.jobTemplate.spec", spec["jobTemplate"]["spec"])


def _job_spec(path: str, spec: Document) -> Iterator[Cause]:
    for name in _COUNTS:
        yield from not_negative(f"{path}.{name}", spec.get(name))
    if spec.get("completionMode") == "Indexed" and "completions" not in spec:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    yield from pods.template(f"{path}.template", spec["template"])
    policy = spec["template"]["spec"]["restartPolicy"]
    if policy == "Always":
        text = 'valid values: "OnFailure", "Never"'
        # The server cannot distinguish a requested policy from its own default.
        yield required(f"{path}.template.spec.restartPolicy", text)
    elif policy not in ("OnFailure", "Never"):
        yield not_supported(f"{path}.template.spec.restartPolicy", policy, ["OnFailure", "Never"])


def _generated(document: Document) -> Iterator[Cause]:
    """Yield the errors of a template without the labels of its generated selector."""
    spec = document["spec"]
    if spec.get("manualSelector") or "selector" not in spec:
        return
    labels = spec["template"]["metadata"].get("labels", {})
    expected = generated_labels(document)
    for key, value in expected.items():
        path = f"spec.template.metadata.labels[{key}]"
        if key not in labels:
            yield required(path, f"must be '{value}'")
        elif labels[key] != value:
            yield invalid(path, labels, f"must be '{value}'")
    if not matches_selector(spec["selector"], expected):
        yield invalid("spec.selector", spec["selector"], "`selector` not auto-generated")


def _fixed(spec: Document, *, suspended: bool) -> Document:
    """Return the template without the fields that may change while the job is suspended and not started."""
    template: Document = spec["template"]
    if not suspended:
        return template
    free = ("nodeSelector", "tolerations", "affinity", "schedulingGates")
    kept = {name: value for name, value in template["spec"].items() if name not in free}
    return {"spec": kept}


def _schedule(text: str) -> Iterator[Cause]:
    path = "spec.schedule"
    if text.startswith("@"):
        if text not in _CRON_WORDS and not re.fullmatch(r"@every \S+", text):
            yield invalid(path, text, f"unrecognized descriptor: {text}")
        return
    fields = text.split()
    if len(fields) != _CRON_FIELDS:
        listed = " ".join(fields)
        yield invalid(path, text, f"expected exactly {_CRON_FIELDS} fields, found {len(fields)}: [{listed}]")
        return
    for field in fields:
        if not _CRON_FIELD.fullmatch(field):
            yield invalid(
                path, text, f"failed to parse int from {field}: strconv.Atoi: parsing {field}: invalid syntax"
            )
