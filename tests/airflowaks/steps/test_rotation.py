"""Rotation against the rehearsal: the new secret opens what it should, and the old one only as long as it should."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis
from cryptography.fernet import Fernet, MultiFernet

from airflowaks.azure.arm import merge
from airflowaks.azure.broker_url import BrokerUrl
from airflowaks.azure.redis import broker_url, ping
from airflowaks.cloud.database_urls import DatabaseUrl
from airflowaks.cloud.routes import Direct
from airflowaks.diagnosis.readers.backend import celery
from airflowaks.diagnosis.readers.scope import Scope
from airflowaks.engine.changes import Action
from airflowaks.engine.converge import converge
from airflowaks.engine.results import Results
from airflowaks.errors import InvalidParameter, MissingDependency, NotConverged
from airflowaks.session import open_session
from airflowaks.steps import backend, cluster, key_vault
from tests.support.deployment import describe_environment, is_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflowaks.azure.database_password import DatabasePassword
    from airflowaks.session import Session
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

NAME = "rotated"
DATABASE_URLS = (key_vault.SQL_CONNECTION, key_vault.SQL_CONNECTION_ASYNC, key_vault.KEDA_CONNECTION)
TOGETHER = {
    **dict.fromkeys(DATABASE_URLS, (*DATABASE_URLS, "airflow")),
    key_vault.RESULT_BACKEND: (key_vault.RESULT_BACKEND, "airflow_celery"),
}
"""By the name of a secret: what is renewed with it, the role of the new password last."""
RANDOM_VALUES = (key_vault.API_SECRET_KEY, key_vault.JWT_SECRET, key_vault.ADMIN_PASSWORD)
NAMES = (key_vault.FERNET_KEY, *RANDOM_VALUES, *TOGETHER, key_vault.BROKER_URL)
PATIENCE_SECONDS = 60
ROTATE = """
import sys
from airflowaks.session import open_session
from airflowaks.steps import key_vault
key_vault.rotate(open_session(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the environment of these tests is described."""
    folder = tmp_path_factory.mktemp("checkout")
    describe_environment(folder, NAME)
    return folder


@pytest.fixture(scope="module")
def open_here(rehearsal: Rehearsal, folder: Path) -> Iterator[Callable[..., Session]]:
    """Opens sessions on a deployment; each is as one of another process."""

    def open_one(mode: str = "apply") -> Session:
        return open_session(NAME, mode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(rehearsal.home))
        patch.chdir(folder)
        session = open_one()
        for step in (cluster, backend, key_vault):
            step.everything(session)
        yield open_one


@pytest.fixture(scope="module")
def held(open_here: Callable[..., Session]) -> Callable[[], dict[str, str]]:
    """Reads what the vault holds now."""

    client = open_here().memoize(key_vault.Resources).vault.secrets

    def read() -> dict[str, str]:
        return {name: client.get_secret(name).value or "" for name in NAMES}

    return read


def certificates() -> str:
    """The file of the certificates that the rehearsal's servers are known by."""
    return str(Path(os.environ["AIRFLOWAKS_HOME"], "ca.pem"))


def log_in(url: str) -> str:
    """Log in as Airflow's libraries do with this URL, and return as whom."""
    libpq = DatabaseUrl.parse(url).spell("postgresql")
    with psycopg.connect(libpq, sslrootcert=certificates()) as connection:
        (user,) = connection.execute("SELECT current_user").fetchone() or ("",)
    return str(user)


def write_alone(session: Session, password: DatabasePassword) -> None:
    """Write as a run does that has compared before."""
    del session
    password.write(None)


def applied(session: Session) -> set[str]:
    return {change.name for change in session.memoize(Results).changes if change.applied}


@pytest.mark.parametrize("name", TOGETHER)
def test_a_database_url_takes_a_new_password_along_with_those_of_its_role(
    open_here: Callable[..., Session], held: Callable[[], dict[str, str]], name: str
) -> None:
    before = held()
    session = open_here()
    key_vault.rotate(session, name)
    after = held()
    *urls, role = TOGETHER[name]
    assert applied(session) == {*urls, role}
    assert len({DatabaseUrl.parse(after[url]).password for url in urls}) == 1
    for url in urls:
        assert log_in(after[url]) == role
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            log_in(before[url])
    assert not key_vault.checks(session).failed
    assert {one: after[one] for one in NAMES if one not in urls}.items() <= before.items()


def test_the_brokers_key_in_use_stays_good_until_the_next_rotation(
    open_here: Callable[..., Session], held: Callable[[], dict[str, str]]
) -> None:
    urls = [held()[key_vault.BROKER_URL]]
    for _ in range(2):
        session = open_here()
        key_vault.rotate(session, key_vault.BROKER_URL)
        assert applied(session) == {key_vault.BROKER_URL}
        urls.append(held()[key_vault.BROKER_URL])
        in_use, new = urls[-2:]
        assert ping(in_use, certificates(), Direct()).startswith("PONG")
        assert ping(new, certificates(), Direct()).startswith("PONG")
    first, _, _ = urls
    assert len(set(urls)) == 3
    with pytest.raises(redis.AuthenticationError):
        ping(first, certificates(), Direct())


def test_the_keys_of_an_adopted_broker_are_its_owners(
    rehearsal: Rehearsal, open_here: Callable[..., Session], held: Callable[[], dict[str, str]]
) -> None:
    instance: Any = open_here().memoize(backend.Resources).broker.parent
    body = merge(instance.kept(instance.facts), instance.desired())
    instance.put({**body, "tags": {"team": "caches"}})
    before, urls = len(rehearsal.requests()), held()
    for mode in ("plan", "apply"):
        with pytest.raises(InvalidParameter, match=r"Managed Redis .* was not made here; its owner regenerates"):
            key_vault.rotate(open_here(mode), key_vault.BROKER_URL)
    assert not [one for one in rehearsal.requests()[before:] if is_write(one)]
    key_vault.check_rotation(open_here(), key_vault.FERNET_KEY)

    instance.put(body)

    assert held() == urls
    key_vault.check_rotation(open_here(), key_vault.BROKER_URL)


@pytest.mark.parametrize(
    "name", [key_vault.BROKER_URL, key_vault.SQL_CONNECTION, key_vault.KEDA_CONNECTION, key_vault.JWT_SECRET]
)
def test_of_two_rotations_at_once_the_first_one_accepts_what_the_second_one_wrote(
    rehearsal: Rehearsal,
    open_here: Callable[..., Session],
    held: Callable[[], dict[str, str]],
    folder: Path,
    name: str,
) -> None:
    """The first one has written and is held before it reads; the second one writes again."""
    rehearsal.control("POST", {"path": f"^/secrets/{name}$", "hold": True, "after": True})
    first = rotate_held(rehearsal, folder, name)
    first_value, session = held()[name], open_here()
    key_vault.rotate(session, name)
    second_value = held()[name]
    assert second_value != first_value

    rehearsal.control("DELETE")

    assert first.wait(PATIENCE_SECONDS) == 0
    assert held()[name] == second_value
    again = open_here()
    key_vault.everything(again)
    assert applied(again) == set()
    assert not key_vault.checks(again).failed


@pytest.mark.parametrize("set_password", [converge, write_alone])
def test_a_password_that_another_run_has_renewed_is_never_set_back(
    open_here: Callable[..., Session], held: Callable[[], dict[str, str]], set_password: Callable[..., object]
) -> None:
    """The first run has the vault's value of before; the second one renews it on both sides meanwhile."""
    first = open_here()
    step = first.memoize(key_vault.Resources)
    converge(first, step.result_backend)
    key_vault.rotate(open_here(), key_vault.RESULT_BACKEND)

    set_password(first, step.celery_password)

    assert log_in(held()[key_vault.RESULT_BACKEND]) == "airflow_celery"
    again = open_here()
    key_vault.everything(again)
    assert applied(again) == set()


def test_what_another_run_has_renewed_is_copied(
    open_here: Callable[..., Session], held: Callable[[], dict[str, str]]
) -> None:
    """The first run has the vault's value of before; the second one renews it and its copies meanwhile."""
    first = open_here()
    step = first.memoize(key_vault.Resources)
    converge(first, step.sql_connection)
    key_vault.rotate(open_here(), key_vault.SQL_CONNECTION)

    converge(first, *step.copies, step.password)

    urls = held()
    assert {log_in(urls[name]) for name in DATABASE_URLS} == {"airflow"}
    again = open_here()
    key_vault.everything(again)
    assert applied(again) == set()


def test_of_two_rotations_at_once_both_end_with_a_url_that_the_broker_accepts(
    rehearsal: Rehearsal, open_here: Callable[..., Session], held: Callable[[], dict[str, str]], folder: Path
) -> None:
    """The first one regenerates the idle key and is held; the second one regenerates the same key."""
    rehearsal.control("POST", {"path": f"^/secrets/{key_vault.BROKER_URL}$", "hold": True})
    first = rotate_held(rehearsal, folder, key_vault.BROKER_URL)
    session = open_here()
    key_vault.rotate(session, key_vault.BROKER_URL)
    assert not key_vault.checks(session).failed
    second_url = held()[key_vault.BROKER_URL]

    rehearsal.control("DELETE")

    assert first.wait(PATIENCE_SECONDS) == 0
    assert held()[key_vault.BROKER_URL] != second_url
    assert ping(held()[key_vault.BROKER_URL], certificates(), Direct()).startswith("PONG")
    again = open_here()
    key_vault.everything(again)
    assert applied(again) == set()


def test_a_key_that_is_listed_and_refused_is_no_success(
    rehearsal: Rehearsal, open_here: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = open_here().memoize(key_vault.Resources)
    refused = broker_url(step.broker, step.broker.session.redactor.learn("refused"))
    step.vault.secrets.set_secret(key_vault.BROKER_URL, refused, content_type=step.broker_url.purpose)
    rehearsal.control("POST", {"path": "/listKeys$", "times": 1000, "edit": {"primaryKey": "refused"}})
    monkeypatch.setattr(BrokerUrl, "settling_seconds", 0.5)
    with pytest.raises(NotConverged, match="the broker refuses the key in it"):
        key_vault.secrets(open_here())
    rehearsal.control("DELETE")
    session = open_here()
    key_vault.secrets(session)
    assert applied(session) == {key_vault.BROKER_URL}
    assert not key_vault.checks(session).failed


def test_what_the_old_fernet_key_encrypted_is_readable_with_the_new_value(
    open_here: Callable[..., Session], held: Callable[[], dict[str, str]]
) -> None:
    before = held()[key_vault.FERNET_KEY]
    token = MultiFernet([Fernet(key) for key in before.split(",")]).encrypt(b"a connection's password")
    session = open_here()
    key_vault.rotate(session, key_vault.FERNET_KEY)
    assert applied(session) == {key_vault.FERNET_KEY}
    newest, *others = held()[key_vault.FERNET_KEY].split(",")
    assert others == before.split(",")
    both = MultiFernet([Fernet(newest), *map(Fernet, others)])
    assert both.decrypt(token) == b"a connection's password"
    assert Fernet(newest).decrypt(both.rotate(token)) == b"a connection's password"


@pytest.mark.parametrize("name", RANDOM_VALUES)
def test_a_random_value_is_made_anew(
    open_here: Callable[..., Session], held: Callable[[], dict[str, str]], name: str
) -> None:
    before = held()
    session = open_here()
    key_vault.rotate(session, name)
    after = held()
    assert applied(session) == {one for one in NAMES if after[one] != before[one]} == {name}
    assert len(after[name]) >= 64


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_shows_what_it_would_renew_and_writes_nothing(
    rehearsal: Rehearsal, open_here: Callable[..., Session], held: Callable[[], dict[str, str]], name: str
) -> None:
    before, served = held(), len(rehearsal.requests())
    changes = key_vault.rotate(open_here("plan"), name)
    assert [one for one in rehearsal.requests()[served:] if is_write(one)] == []
    renewed = set(TOGETHER.get(name, (name,)))
    assert {change.name for change in changes if change.action is Action.UPDATE} == renewed
    assert not any(change.applied for change in changes)
    assert held() == before


@pytest.mark.parametrize(
    ("name", "note"),
    [
        (key_vault.JWT_SECRET, "fail when step 7 rolls the pods: pause the DAGs first"),
        (key_vault.KEDA_CONNECTION, "Airflow opens no new connection to its database: run step 7 at once"),
        (key_vault.RESULT_BACKEND, "Celery opens no new connection to its database: run step 7 at once"),
        (key_vault.ADMIN_PASSWORD, ""),
    ],
)
def test_a_rotation_says_what_it_interrupts(open_here: Callable[..., Session], name: str, note: str) -> None:
    for mode in ("plan", "apply"):
        changes = key_vault.rotate(open_here(mode), name)
        assert note in changes.table().note
        assert len([change for change in changes if change.note]) == bool(note)
    assert not [change for change in key_vault.secrets(open_here()) if change.note]


def test_an_unknown_name_is_refused(open_here: Callable[..., Session]) -> None:
    with pytest.raises(InvalidParameter, match='no secret "airflow-jwt"') as caught:
        key_vault.rotate(open_here(), "airflow-jwt")
    assert all(name in caught.value.action for name in NAMES)


def test_a_password_that_was_changed_in_the_database_alone_is_found_and_set_back(
    open_here: Callable[..., Session],
) -> None:
    session, scope = open_here(), Scope(datetime.now(UTC), "airflow")
    step3 = session.memoize(backend.Resources)
    step3.celery_role.set_password(session.redactor.learn("of-somebody-else"))
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "airflow_celery"'):
        celery(open_here(), scope)
    key_vault.secrets(session)
    assert applied(session) == {"airflow_celery"}
    with closing(open_here()) as reader:
        assert celery(reader, scope)["celery"].owner


def test_a_result_backend_in_airflows_database_gets_a_role_of_its_own_and_no_sooner_than_that_exists(
    open_here: Callable[..., Session], held: Callable[[], dict[str, str]]
) -> None:
    """As deployments from before have it."""
    session = open_here()
    before = DatabaseUrl.parse(held()[key_vault.SQL_CONNECTION]).spell("db+postgresql+psycopg2")
    session.memoize(key_vault.Resources).vault.secrets.set_secret(key_vault.RESULT_BACKEND, before)
    with session.memoize(backend.Resources).role.administer() as administrator:
        administrator.autocommit = True
        administrator.execute("DROP DATABASE airflow_celery")
        administrator.execute("DROP ROLE airflow_celery")
    with pytest.raises(MissingDependency, match="database role airflow_celery does not exist yet"):
        key_vault.secrets(open_here())
    assert held()[key_vault.RESULT_BACKEND] == before
    for step in (backend, key_vault):
        step.everything(session)
        assert not step.checks(session).failed
    assert applied(session) == {key_vault.RESULT_BACKEND, "airflow_celery"}
    assert log_in(held()[key_vault.RESULT_BACKEND]) == "airflow_celery"
    assert log_in(before) == "airflow", "which workers from before still use"


def rotate_held(rehearsal: Rehearsal, folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Rotate in another process, and return it when the rehearsal holds an answer to it."""
    process = subprocess.Popen([sys.executable, "-c", ROTATE, NAME, name], cwd=folder)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(fault["holding"] for fault in rehearsal.control("GET")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def kill_rotation(rehearsal: Rehearsal, folder: Path, name: str, *, after: str) -> None:
    """Rotate in another process and kill -9 it when a write to the path has been served."""
    rehearsal.control("POST", {"path": after, "hold": True, "after": True})
    process = rotate_held(rehearsal, folder, name)
    process.kill()
    process.wait()
    rehearsal.control("DELETE")


@pytest.mark.parametrize("name", TOGETHER)
def test_killed_between_the_vault_and_the_database_step_4_heals(
    rehearsal: Rehearsal,
    open_here: Callable[..., Session],
    held: Callable[[], dict[str, str]],
    folder: Path,
    name: str,
) -> None:
    before = held()
    kill_rotation(rehearsal, folder, TOGETHER[name][0], after=f"^/secrets/{name}$")
    torn = held()
    assert torn[name] != before[name]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(torn[name])

    session = open_here()
    key_vault.everything(session)

    after = held()
    *urls, role = TOGETHER[name]
    assert after[urls[0]] == torn[urls[0]]
    assert {log_in(after[url]) for url in urls} == {role}
    assert not key_vault.checks(session).failed


def test_killed_between_the_broker_and_the_vault_what_runs_goes_on(
    rehearsal: Rehearsal, open_here: Callable[..., Session], held: Callable[[], dict[str, str]], folder: Path
) -> None:
    before = held()
    kill_rotation(rehearsal, folder, key_vault.BROKER_URL, after="/regenerateKey$")
    assert held() == before
    assert ping(before[key_vault.BROKER_URL], certificates(), Direct()).startswith("PONG")
    session = open_here()
    assert {change.action for change in key_vault.everything(session)} == {Action.NONE}
    assert not key_vault.checks(session).failed
