"""What goes wrong with pods as on AKS: each spoils one thing of steps 1 to 5 and reads what a roll-out of step 7 says.

The roll-outs are those of the real manifests, which need no Airflow for it: none of their containers comes to run.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.config.paths import manifests_folder
from airflowaks.engine.converge import converge
from airflowaks.errors import RolloutFailed
from airflowaks.kube.client import connect
from airflowaks.kube.objects import objects
from airflowaks.session import open_session
from airflowaks.steps import airflow, backend, cluster, key_vault, registry, volumes, workload_identity
from tests.support.deployment import describe_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflowaks.session import Session
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

DEADLINE_SECONDS = 8
PYTHON = "docker.io/library/python:3.13"
SECRETS_VOLUME = """        - name: secrets
          csi:
            driver: secrets-store.csi.k8s.io
            readOnly: true
            volumeAttributes: {secretProviderClass: airflow-triggerer}
"""

READINESS_PROBE = """readinessProbe:
            exec: {command: [python, -c, "raise SystemExit('no heartbeat')"]}"""

RollOut = Callable[..., RolloutFailed]


@pytest.fixture(scope="module")
def folder(rehearsal: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with an environment in which everything is there that Airflow's pods stand on."""
    del rehearsal
    folder = tmp_path_factory.mktemp("checkout")
    describe_environment(folder, "troubled")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        session = open_session("troubled")
        for step in (cluster, registry, backend, key_vault, workload_identity):
            step.everything(session)
        volumes.storage(session)
        airflow.configuration(session)
        yield folder


@pytest.fixture
def session(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session of the test's own, in which the steps have put right what the test before spoilt."""
    monkeypatch.chdir(folder)
    session = open_session("troubled")
    for step in (cluster, registry, key_vault, workload_identity):
        step.everything(session)
    return session


@pytest.fixture
def roll_out(session: Session, folder: Path) -> Iterator[RollOut]:
    """Rolls the triggerer out under a deadline of seconds, and returns how that failed."""
    made = []

    def fail(*replacements: tuple[str, str], **values: Any) -> RolloutFailed:
        text = (manifests_folder("07_airflow") / "triggerer.yaml").read_text()
        name = f"spoilt-{uuid.uuid4().hex[:6]}"
        here = folder / "manifests" / name
        here.mkdir()
        wanted = (
            ("progressDeadlineSeconds: 900", f"progressDeadlineSeconds: {DEADLINE_SECONDS}"),
            ("  name: airflow-triggerer\n", f"  name: {name}\n"),
            ("component: triggerer", f"component: {name}"),
            *replacements,
        )
        for old, new in wanted:
            assert old in text
            text = text.replace(old, new)
        (here / "deployment.yaml").write_text(text)
        known = session.memoize(airflow.Resources).deployments[0].manifest.values
        (deployment,) = objects(name, {**known, **values}, parent=session.memoize(cluster.Resources).namespace)
        made.append(deployment.reference)
        with pytest.raises(RolloutFailed) as caught:
            converge(session, deployment)
        return caught.value

    yield fail
    for reference in made:
        session.memoize(connect).delete(reference)


def warned(session: Session, reason: str) -> str:
    """Every message of the namespace's events of that reason."""
    events = session.memoize(connect).each(
        "v1", "Event", session.environment.cluster.namespace, fields=f"reason={reason}"
    )
    return "\n".join(event["message"] for event in events)


def test_a_federated_credential_of_another_subject(session: Session, roll_out: RollOut) -> None:
    credentials = session.memoize(workload_identity.Resources).credentials
    (credential,) = [each for each in credentials if each.subject.endswith(":airflow-dags")]
    subject = "system:serviceaccount:airflow:somebody-else"
    credential.put({"properties": {**credential.desired()["properties"], "subject": subject}})

    error = roll_out()

    assert re.search(
        r"no progress in 8 s; pod spoilt-\w+-\w+-\w+: FailedMount \(MountVolume\.SetUp failed", error.message
    )
    assert 'for volume "secrets" : rpc error: code = Unknown desc = failed to mount secrets store' in error.message
    assert "AADSTS700213: No matching federated identity record found" in error.message
    assert credential.subject in error.message
    assert error.action.startswith("Run step 5")
    (mended,) = [one for one in workload_identity.federation(open_session("troubled")) if one.differences]
    assert [str(one) for one in mended.differences] == [f"properties.subject: {subject} → {credential.subject}"]


def test_a_pods_identity_without_its_role_at_the_vault(session: Session, roll_out: RollOut) -> None:
    step5 = session.memoize(workload_identity.Resources)
    session.authorization.role_assignments.delete_by_id(step5.vault_access.id)

    error = roll_out()

    assert "FailedMount (MountVolume.SetUp failed" in error.message
    assert "RESPONSE 403: 403 Forbidden" in error.message
    assert '"code": "ForbiddenByRbac"' in error.message
    assert "Caller is not authorized to perform action on resource." in error.message
    assert error.action.startswith("Run step 5")


def pull_fails(error: RolloutFailed, *states: str) -> bool:
    """Whether the triggerer waits in one of these states: a kubelet pulls again whenever its back-off is over."""
    return any(f"container triggerer: {state}" in error.message for state in states)


def test_a_kubelet_without_acr_pull(session: Session, roll_out: RollOut) -> None:
    step2 = session.memoize(registry.Resources)
    session.authorization.role_assignments.delete_by_id(step2.pull_access.id)
    # What a node has pulled before it does not ask for again.
    error = roll_out(("image: ${IMAGE}", "image: ${IMAGE}\n          imagePullPolicy: Always"))

    image, host = step2.image.reference, step2.registry.login_server
    refused = (
        f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": failed to authorize:'
        f" failed to fetch oauth token: unexpected status from GET request to https://{host}/oauth2/token?scope="
        f"repository%3Aairflow%3Apull&service={host}: 401 Unauthorized"
    )
    backing_off = f'ImagePullBackOff (Back-off pulling image "{image}": ErrImagePull: {refused})'
    assert pull_fails(error, backing_off, f"ErrImagePull ({refused})")
    assert error.action.startswith("Run step 2")
    assert f'Failed to pull image "{image}": {refused}' in warned(session, "Failed")
    assert "Error: ErrImagePull" in warned(session, "Failed")
    assert "Error: ImagePullBackOff" in warned(session, "Failed")


def test_a_tag_that_nobody_has_pushed(session: Session, roll_out: RollOut) -> None:
    host = session.memoize(registry.Resources).registry.login_server

    error = roll_out(IMAGE=f"{host}/airflow:0.0.0")

    backing_off = f'ImagePullBackOff (Back-off pulling image "{host}/airflow:0.0.0"'
    assert pull_fails(error, backing_off, "ErrImagePull (")
    assert error.message.endswith(f'"{host}/airflow:0.0.0": {host}/airflow:0.0.0: not found).')
    assert error.action.startswith("Run step 2")


def test_a_secret_that_no_pod_mounts(roll_out: RollOut) -> None:
    error = roll_out(
        ("            - {name: secrets, mountPath: /mnt/secrets, readOnly: true}\n", ""),
        (SECRETS_VOLUME, ""),
        IMAGE=PYTHON,
    )

    assert error.message.endswith(
        'container triggerer: CreateContainerConfigError (secret "airflow-triggerer" not found).'
    )
    assert error.action == "Run step 5: the Secret exists only while a pod mounts the vault's volume."


def test_a_probe_that_never_passes(roll_out: RollOut) -> None:
    heartbeat = "exec: {command: [python, /etc/airflow/programs/heartbeat.py, TriggererJob]}"
    error = roll_out(
        ("[sh, /etc/airflow/programs/start.sh, airflow, triggerer]", '[python, -c, "import time; time.sleep(600)"]'),
        (
            f"livenessProbe:\n            {heartbeat}",
            'livenessProbe:\n            exec: {command: [python, -c, "pass"]}',
        ),
        (f"startupProbe:\n            {heartbeat}\n            initialDelaySeconds: 10", READINESS_PROBE),
        IMAGE=PYTHON,
    )

    assert re.search(r"did not become ready: no progress in 8 s; pod spoilt-\w+-\w+-\w+, container tr", error.message)
    assert error.message.endswith("container triggerer: Unhealthy (Readiness probe failed: no heartbeat).")
    assert error.action.startswith("Run `kubectl describe pod spoilt-")
