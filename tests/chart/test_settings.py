"""The settings that the chart offers are the operator's, name by name and default by default."""

from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignment_operator.settings import (
    AllowedSettings,
    JobNetworkSettings,
    PodSettings,
    ProgressSettings,
    Settings,
    UsageSettings,
    load,
)
from tests.chart.conftest import CHART, NAMESPACE, RELEASE, Objects, find, render

SECTIONS: dict[str, type] = {
    "pods": PodSettings,
    "progress": ProgressSettings,
    "usage": UsageSettings,
    "allowed": AllowedSettings,
    "job_network": JobNetworkSettings,
}
# Other values decide these, so that a release cannot contradict itself.
CHARTS_OWN: dict[type, set[str]] = {
    Settings: {"namespace", "watch_namespaces", "lease_name", "health_port", *SECTIONS},
    PodSettings: {"image", "image_pull_policy"},
    ProgressSettings: {"url", "port"},
    JobNetworkSettings: {"operator_labels"},
}
NOT_OF_THE_OPERATOR = {"progress": {"enabled"}}  # becomes progress.url or null


def values() -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    return settings


def rendered(objects: Objects) -> dict[str, Any]:
    """The settings file in the ConfigMap."""
    text = find(objects, "ConfigMap", f"{RELEASE}-settings")["data"]["settings.yaml"]
    settings: dict[str, Any] = yaml.safe_load(text)
    return settings


def default(field: Field) -> Any:
    value = field.default if field.default is not MISSING else field.default_factory()  # type: ignore[operator]
    return list(value) if isinstance(value, tuple) else value


def offered(section: str | None) -> dict[str, Any]:
    """What values.yaml has of a section, or beside the sections."""
    if section is None:
        return {name: value for name, value in values().items() if name not in SECTIONS}
    return {k: v for k, v in values()[section].items() if k not in NOT_OF_THE_OPERATOR.get(section, ())}


@pytest.mark.parametrize("section", [None, *SECTIONS])
def test_the_chart_offers_every_setting_with_the_operators_default(section: str | None) -> None:
    of = SECTIONS[section] if section else Settings
    own = CHARTS_OWN.get(of, set())
    assert offered(section) == {field.name: default(field) for field in fields(of) if field.name not in own}


def test_the_rendered_file_names_only_settings_of_the_operator() -> None:
    file = rendered(render())
    assert set(file) <= {field.name for field in fields(Settings)}
    for section, of in SECTIONS.items():
        assert set(file[section]) == {field.name for field in fields(of)}


def test_the_policies_of_jobs_name_the_operators_pods() -> None:
    objects = render()
    pods = find(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    named = rendered(objects)["job_network"]["operator_labels"]
    assert named
    assert named.items() <= pods.items()


def test_the_operator_reads_the_rendered_file(values_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        find(render(f"--values={values_file}"), "ConfigMap", f"{RELEASE}-settings")["data"]["settings.yaml"]
    )
    settings = load(path)
    assert settings.namespace == NAMESPACE
    assert settings.lease_name == RELEASE
    assert (settings.pods.run_as_user is None) == ("openshift" in values_file.name)


def test_the_trainer_image_is_of_the_charts_version() -> None:
    assert rendered(render())["pods"]["image"] == PodSettings().image


def test_the_progress_url_is_the_service_that_the_chart_makes() -> None:
    objects = render()
    service = find(objects, "Service")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert rendered(objects)["progress"]["url"] == f"https://{host}:{ports['progress']}"


def test_the_ports_of_the_settings_are_the_containers() -> None:
    objects = render()
    [container] = find(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    file = rendered(objects)
    assert ports == {"health": file["health_port"], "progress": file["progress"]["port"]}


def test_new_settings_start_new_pods() -> None:
    def checksum(*args: str) -> str:
        template = find(render(*args), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum("--set=replicas=2")
    assert checksum() != checksum("--set=settings.workers=2")
