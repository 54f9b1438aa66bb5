"""What to do about a roll-out that fails, by the texts of a real kubelet, scheduler and control plane (1.36.2)."""

from __future__ import annotations

import pytest

from airflowaks.kube.advice import advise

NODES = "0/1 nodes are available: 1"
PREEMPTION = (
    "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)
NO_DRIVER = (
    "kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name secrets-store.csi.k8s.io not found in the"
    " list of registered CSI drivers"
)
NO_ACCOUNT = (
    'pods "airflow-noaccount-5bcf68965f-" is forbidden: error looking up service account c/airflow-dags: serviceaccount'
    ' "airflow-dags" not found'
)
MOUNT = 'MountVolume.SetUp failed for volume "v" : '


@pytest.mark.parametrize(
    ("reason", "message", "action"),
    [
        ("Unschedulable", f"{NODES} Insufficient cpu. {PREEMPTION}", "Raise `cluster.node_pool.max_count`"),
        (
            "Unschedulable",
            f"{NODES} node(s) didn't match Pod's node affinity/selector. {PREEMPTION}",
            "Correct the pod's",
        ),
        ("Unschedulable", f"{NODES} node(s) had untolerated taint(s). {PREEMPTION}", "Let the pod tolerate the taint"),
        (
            "Unschedulable",
            '0/1 nodes are available: persistentvolumeclaim "claim-missing" not found. not found',
            "Run step 6",
        ),
        (
            "Unschedulable",
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
            "Run step 6",
        ),
        ("CreateContainerConfigError", 'configmap "configuration-missing" not found', "Run step 7"),
        ("CreateContainerConfigError", 'secret "airflow-missing" not found', "Run step 5: the Secret exists only"),
        ("CreateContainerConfigError", "couldn't find key connection in Secret c/has-other", "Run step 5: the Secret"),
        (
            "CreateContainerConfigError",
            'container has runAsNonRoot and image will run as root (pod: "p_c(f6f2)", container: main)',
            "Use an image whose user is a number other than 0",
        ),
        ("FailedMount", f'{MOUNT}configmap "programs-missing" not found', "Run step 7, which applies the ConfigMaps"),
        ("FailedMount", f'{MOUNT}secret "secret-missing" not found', "Run step 5: the Secret exists only"),
        ("FailedMount", f"{MOUNT}hostPath type check failed: /nowhere/at/all is not a directory", "Correct the volume"),
        ("FailedMount", f"{MOUNT}mount failed: exit status 32\nMounting command: mount", "Correct the volume"),
        (
            "FailedMount",
            f"{MOUNT}{NO_DRIVER}",
            "Run step 5, which gives the pods their identity",
        ),
        (
            "ErrImageNeverPull",
            'Container image "realnode/nothing:1" is not present with pull policy of Never',
            "Remove `imagePullPolicy: Never`",
        ),
        (
            "FailedCreate",
            NO_ACCOUNT,
            "Run step 5, which creates the accounts",
        ),
        (
            "FailedCreate",
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
            "Correct in the manifest what the message lists",
        ),
        (
            "FailedCreate",
            'pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2',
            "Raise the namespace's ResourceQuota",
        ),
        (
            "FailedCreate",
            'pods "x" is forbidden: failed quota: small: must specify limits.cpu for: main',
            "Set the requests and limits",
        ),
        (
            "FailedCreate",
            'pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 2',
            "Set the requests and limits",
        ),
        ("BackOff", "Back-off restarting failed container main in pod x", "otherwise"),
    ],
)
def test_the_advice_follows_the_cause(reason: str, message: str, action: str) -> None:
    assert advise(reason, message, "otherwise").startswith(action)
