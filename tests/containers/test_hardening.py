"""What a container of ours may do, asked from inside; and what its image gives away, which is nothing."""

from __future__ import annotations

import json

import pytest

from tests.containers.compose import Project

OURS = {"training": "ratchet-training:test", "serving": "ratchet-serving:test"}
TRAINING_ALONE = ("zenml", "evidently", "dvc", "optuna", "distributed", "pyarrow")
SERVICES = ["api", "evidently", "mlflow", "postgres", "s3", "watcher", "zenml"]


def hardened(project: Project, service: str) -> bool:
    """Whether a service runs without rights, and can change nothing where its programs lie."""
    assert project.sh(service, "id -u") not in {"", "0"}
    for place in ("/", "/usr/bin", "/etc", "/var/tmp"):  # the last is anybody's, but for a read-only root
        assert project.sh(service, f"touch {place}/x 2>/dev/null || echo refused") == "refused"
    status = dict(
        line.split(":\t", 1) for line in project.sh(service, "cat /proc/1/status").splitlines() if ":\t" in line
    )
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16)) == (0, 0)
    assert status["NoNewPrivs"] == "1"
    return bool(project.container(service)["HostConfig"]["Memory"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_nobody_and_can_change_nothing(project: Project, service: str) -> None:
    assert hardened(project, service)


def test_code_cannot_be_changed_where_it_runs(project: Project) -> None:
    for service in ("api", "watcher"):
        assert project.sh(service, "touch /app/run.py 2>/dev/null || echo refused") == "refused"


def test_the_roles_of_services_rule_nothing_but_their_own_databases(project: Project) -> None:
    def asked(query: str) -> str:
        return project.sh("postgres", f'psql -qAt -U postgres -c "{query}"')

    assert asked("select count(*) from pg_roles where rolname in ('ratchet', 'mlflow') and not rolsuper") == "2"
    assert asked("select has_database_privilege('ratchet', 'mlflow', 'connect')") == "f"
    assert asked("select has_database_privilege('mlflow', 'ratchet', 'connect')") == "f"


def test_nothing_is_published_beyond_this_machine(project: Project) -> None:
    published = [
        binding["HostIp"]
        for service in SERVICES
        for bindings in (project.container(service)["NetworkSettings"]["Ports"] or {}).values()
        for binding in bindings or ()
    ]
    assert published == ["127.0.0.1"] * 5  # api, mlflow, zenml, evidently, and the console of s3


@pytest.mark.parametrize("name", OURS)
def test_an_image_holds_no_secret(project: Project, name: str) -> None:
    said = project.run("docker", "history", "--no-trunc", OURS[name]) + project.run("docker", "inspect", OURS[name])
    assert [secret for secret, value in project.secrets.items() if value in said] == []
    look = ["docker", "run", "--rm", "--network", "none", "--user", "0", OURS[name], "find", "/", "-xdev"]
    inside = project.run(*look, "(", "-name", ".env*", "-o", "-name", ".git", ")")
    assert inside.split() == []


@pytest.mark.parametrize("name", OURS)
def test_an_image_says_what_it_is_and_runs_as_mluser(project: Project, name: str) -> None:
    config = json.loads(project.run("docker", "inspect", OURS[name]))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.revision"] == project.commit
    assert config["Labels"]["org.opencontainers.image.version"]


def test_the_serving_image_is_less_than_half_of_the_training_image_and_trains_nothing(project: Project) -> None:
    size = {name: int(project.run("docker", "inspect", "--format", "{{.Size}}", tag)) for name, tag in OURS.items()}
    print({name: f"{value / 1e6:.0f} MB" for name, value in size.items()})
    assert size["serving"] < 0.5 * size["training"]
    script = "import importlib.util as u, sys; print([name for name in sys.argv[1:] if u.find_spec(name)])"
    found = project.run("docker", "run", "--rm", OURS["serving"], "python", "-c", script, *TRAINING_ALONE)
    assert found.strip() == "[]"
    health = json.loads(project.run("docker", "inspect", OURS["serving"]))[0]["Config"]["Healthcheck"]["Test"]
    assert health[-1].endswith("/readyz")
