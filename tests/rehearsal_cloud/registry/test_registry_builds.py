"""Builds by a registry, through azure-mgmt-containerregistrytasks and the blobs that it names."""

from __future__ import annotations

import io
import json
import tarfile
import time
import uuid
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest
from azure.containerregistry import ContainerRegistryClient
from azure.core import PipelineClient
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.policies import ProxyPolicy
from azure.core.rest import HttpRequest
from azure.mgmt.containerregistry import ContainerRegistryManagementClient
from azure.mgmt.containerregistrytasks import ContainerRegistryTasksMgmtClient

from tests.support.azure_requests import Sender
from tests.support.rehearsal import reset_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from azure.core.credentials import TokenCredential
    from azure.core.rest import HttpResponse
    from azure.mgmt.containerregistry.models import Registry
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

GROUP = "builds"
BASE = "docker.io/library/python:3.13"
SMALL = "text-unidecode==1.3"


@pytest.fixture(scope="module")
def registry(rehearsal: Rehearsal, operator: TokenCredential, resources: ResourceManagementClient) -> Registry:
    resources.providers.register("Microsoft.ContainerRegistry")
    resources.resource_groups.create_or_update(GROUP, {"location": "westeurope"})
    wanted: Any = {"location": "westeurope", "sku": {"name": "Standard"}}
    with ContainerRegistryManagementClient(operator, rehearsal.subscription, **rehearsal.transport) as client:
        return client.registries.begin_create(GROUP, f"builds{uuid.uuid4().hex[:10]}", wanted).result()


@pytest.fixture(scope="module")
def tasks(rehearsal: Rehearsal, operator: TokenCredential) -> Iterator[ContainerRegistryTasksMgmtClient]:
    with ContainerRegistryTasksMgmtClient(operator, rehearsal.subscription, **rehearsal.transport) as client:
        yield client


class Builder:
    """Builds images in a registry, and reads blobs as they are, without any credential but their URLs."""

    def __init__(
        self, tasks: ContainerRegistryTasksMgmtClient, registry: Registry, rehearsal: Rehearsal, images: Any
    ) -> None:
        self.tasks, self.registry, self.images = tasks, str(registry.name), images
        self.blobs: PipelineClient[Any, Any] = PipelineClient(
            "https://blobs", policies=[ProxyPolicy(**rehearsal.transport)], **rehearsal.transport
        )

    def send(self, method: str, url: str, content: bytes | None = None, **headers: str) -> HttpResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.blobs.send_request(HttpRequest(method, url, headers=named, content=content))

    def upload(self, files: dict[str, str]) -> str:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        place = self.tasks.registries.get_build_source_upload_url(GROUP, self.registry)
        done = self.send("PUT", str(place.upload_url), packed.getvalue(), x_ms_blob_type="BlockBlob")
        assert done.status_code == 201
        return str(place.relative_path)

    def schedule(self, source: str, image: str, **arguments: str) -> str:
        request: Any = {
            "type": "DockerBuildRequest",
            "sourceLocation": source,
            "dockerFilePath": "Dockerfile",
            "imageNames": [image],
            "platform": {"os": "Linux"},
            "arguments": [{"name": name, "value": value} for name, value in arguments.items()],
        }
        run = self.tasks.registries.schedule_run(GROUP, self.registry, request)
        assert run.status == "Queued"
        return str(run.run_id)

    def log_url(self, run: str) -> str:
        return str(self.tasks.runs.get_log_sas_url(GROUP, self.registry, run).log_link)

    def built(
        self, dockerfile: str, image: str = "one:two", files: dict[str, str] | None = None, **arguments: str
    ) -> Any:
        """Build, and return the run and its log."""
        run = self.schedule(self.upload({"Dockerfile": dockerfile, **(files or {})}), image, **arguments)
        deadline = time.monotonic() + 60
        while (known := self.tasks.runs.get(GROUP, self.registry, run)).status in ("Queued", "Running"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return known, self.send("GET", self.log_url(run)).text()


@pytest.fixture(scope="module")
def builder(
    tasks: ContainerRegistryTasksMgmtClient, registry: Registry, rehearsal: Rehearsal, operator: TokenCredential
) -> Iterator[Builder]:
    transport = {key: rehearsal.transport[key] for key in ("proxies", "connection_verify")}
    with ContainerRegistryClient(f"https://{registry.properties.login_server}", operator, **transport) as images:
        made = Builder(tasks, registry, rehearsal, images)
        yield made
        made.blobs.close()


DOCKERFILE = f"""
ARG BASE={BASE}
FROM ${{BASE}}
ARG REVISION
COPY requirements.txt /requirements.txt
RUN pip install --no-cache-dir --requirement /requirements.txt
COPY dags /opt/dags
ENV A="b c"
USER 50000
LABEL revision="${{REVISION}}"
"""
FILES = {"requirements.txt": f"{SMALL}\n", "dags/one.py": "print(1)\n"}


def test_an_image_is_built_and_pushed(builder: Builder) -> None:
    run, log = builder.built(DOCKERFILE, "airflow:mine", FILES, REVISION="abc")
    assert run.status == "Succeeded", log
    (image,) = run.output_images
    assert image.digest == builder.images.get_tag_properties("airflow", "mine").digest
    assert run.finish_time >= run.start_time >= run.create_time
    assert "Step 4/9 : COPY requirements.txt" in log
    assert "Successfully installed text-unidecode-1.3" in log
    assert log.splitlines()[-1].startswith(f"Run ID: {run.run_id} was successful after ")

    manifest = builder.images.get_manifest("airflow", image.digest).manifest
    config = json.loads(b"".join(builder.images.download_blob("airflow", manifest["config"]["digest"])))
    assert config["config"]["Labels"] == {"revision": "abc"}
    assert config["config"]["User"] == "50000"
    assert "A=b c" in config["config"]["Env"]
    assert [one["created_by"].split()[0] for one in config["history"]] == ["COPY", "RUN", "COPY"]
    held: dict[str, bytes] = {}
    for layer in manifest["layers"]:
        content = b"".join(builder.images.download_blob("airflow", layer["digest"]))
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            held |= {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]
    assert held["opt/dags/one.py"] == b"print(1)\n"


def test_the_same_is_the_same_image_and_something_else_another(builder: Builder) -> None:
    first, _ = builder.built(DOCKERFILE, files=FILES, REVISION="1")
    again, _ = builder.built(DOCKERFILE, files=FILES, REVISION="1")
    other, _ = builder.built(DOCKERFILE, files={**FILES, "dags/one.py": "print(2)\n"}, REVISION="1")
    digests = [run.output_images[0].digest for run in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]


def test_a_build_stands_on_an_image_of_the_registry(builder: Builder, registry: Registry) -> None:
    base, _ = builder.built(DOCKERFILE, "base:1", FILES)
    reference = f"{registry.properties.login_server}/base:1@{base.output_images[0].digest}"
    built, log = builder.built("ARG BASE\nFROM $BASE\nLABEL more=1\n", "next:1", BASE=reference)
    assert built.status == "Succeeded", log
    before, after = (builder.images.get_manifest(name, "1").manifest for name in ("base", "next"))
    assert after["layers"] == before["layers"]


@pytest.mark.parametrize(
    ("dockerfile", "said"),
    [
        ("FROM docker.io/apache/airflow:9.9.9\n", "manifest for docker.io/apache/airflow:9.9.9 not found"),
        (f"FROM {BASE}\nCOPY nothing /\n", "COPY failed: file not found in build context"),
        (f"FROM {BASE}\nRUN pip install -r /none.txt\n", "Could not open requirements file"),
        (f"FROM {BASE}\nRUN pip install {SMALL} text-unidecode==1.2\n", "No solution found"),
        (f"FROM {BASE}\nRUN apt-get update\n", "the rehearsal runs pip install, and no other command"),
        (f"FROM {BASE}\nFROM {BASE}\n", "the rehearsal builds images of one stage"),
        (f"FROM {BASE}\nVOLUME /a\n", "the rehearsal does not know the instruction VOLUME"),
        ("LABEL a=b\n", "no build stage in current context"),
        ("", "file with no instructions"),
    ],
)
def test_a_build_that_fails_says_why_at_the_end_of_its_log(builder: Builder, dockerfile: str, said: str) -> None:
    run, log = builder.built(dockerfile, "broken:1")
    assert run.status == "Failed"
    assert not run.output_images
    assert said in log
    assert "Error: failed during run, err: exit status 1" in log.splitlines()[-1]
    with pytest.raises(ResourceNotFoundError):
        builder.images.get_tag_properties("broken", "1")


def test_a_log_is_read_in_ranges_and_says_that_it_is_complete(builder: Builder) -> None:
    run, log = builder.built(f"FROM {BASE}\n")
    url, size = builder.log_url(run.run_id), len(log.encode())
    part = builder.send("GET", url, Range="bytes=5-9")
    assert (part.status_code, part.text()) == (206, log[5:10])
    assert part.headers["Content-Range"] == f"bytes 5-9/{size}"
    rest = builder.send("GET", url, x_ms_range=f"bytes={size - 3}-")
    assert rest.text() == log[-3:]
    assert builder.send("GET", url, Range=f"bytes={size}-").status_code == 416
    head = builder.send("HEAD", url)
    assert head.headers["x-ms-meta-Complete"] == "successful"
    assert (head.headers["x-ms-blob-type"], int(head.headers["Content-Length"])) == ("AppendBlob", size)


def test_a_blob_opens_for_what_its_url_was_made_for_alone(builder: Builder) -> None:
    place = str(builder.tasks.registries.get_build_source_upload_url(GROUP, builder.registry).upload_url)
    assert builder.send("GET", place).status_code == 403
    assert builder.send("PUT", place, b"").status_code == 400
    path, _, query = place.partition("?")
    for wrong in (path, f"{path}.other?{query}", f"{path}?{query.replace('sp=cw', 'sp=cwr')}", f"{place}A"):
        refused = builder.send("PUT", wrong, b"", x_ms_blob_type="BlockBlob")
        assert refused.status_code == 403
        assert refused.headers["x-ms-error-code"] == "AuthenticationFailed"
        assert "<Code>AuthenticationFailed</Code>" in refused.text()


def test_signatures_are_not_logged(builder: Builder, rehearsal: Rehearsal) -> None:
    builder.upload({"Dockerfile": ""})
    asked = [one["query"] for one in rehearsal.requests() if one["host"].endswith(".blob.core.windows.net")]
    assert asked[-1].endswith("&sig=…")
    assert {query.partition("sig=")[2] for query in asked} <= {"…", ""}


def test_other_requests_for_runs_are_refused(builder: Builder) -> None:
    request: Any = {"type": "FileTaskRunRequest", "taskFilePath": "acb.yaml", "platform": {"os": "Linux"}}
    with pytest.raises(HttpResponseError, match="use DockerBuildRequest"):
        builder.tasks.registries.schedule_run(GROUP, builder.registry, request)
    nothing: Any = {"type": "DockerBuildRequest", "platform": {"os": "Linux"}}
    with pytest.raises(HttpResponseError, match="sourceLocation is missing"):
        builder.tasks.registries.schedule_run(GROUP, builder.registry, nothing)


def test_a_subscription_on_free_credit_builds_nothing(tmp_path: Path) -> None:
    home = tmp_path / "free-credit"
    started = start_rehearsal(home, "--time-scale", "0.00005", "--no-acr-tasks")
    place = f"/subscriptions/{started.subscription}/resourceGroups/free"
    registry = f"{place}/providers/Microsoft.ContainerRegistry/registries/free{uuid.uuid4().hex[:10]}"
    with ExitStack() as opened, closing(started.credential()) as credential:
        send = Sender(started, credential, opened)
        provider = f"/subscriptions/{started.subscription}/providers/Microsoft.ContainerRegistry"
        send("POST", f"{provider}/register?api-version=2025-04-01")
        while send("GET", f"{provider}?api-version=2025-04-01").json()["registrationState"] != "Registered":
            time.sleep(0.05)
        send("PUT", f"{place}?api-version=2025-04-01", {"location": "westeurope"})
        made = {"location": "westeurope", "sku": {"name": "Basic"}}
        assert send("PUT", f"{registry}?api-version=2025-11-01", made).status_code == 201
        version = "api-version=2025-03-01-preview"
        assert send("POST", f"{registry}/listBuildSourceUploadUrl?{version}").status_code == 200
        refused = send("POST", f"{registry}/scheduleRun?{version}", {"type": "DockerBuildRequest"})
    reset_rehearsal(home)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error["code"] == "TasksOperationsNotAllowed"
    name = registry.rpartition("/")[2]
    assert error["message"] == (
        f"ACR Tasks requests for the registry {name} and {started.subscription} are not permitted. Please file an"
        " Azure support request at http://aka.ms/azuresupport for assistance."
    )
