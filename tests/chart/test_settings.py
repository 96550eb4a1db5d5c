"""The settings that the chart offers are the operator's, name by name and default by default."""

from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignment_operator.settings import PodSettings, ProgressSettings, Settings, load
from tests.chart.conftest import CHART, NAMESPACE, RELEASE, Objects, find, render

# Other values decide these, so that a release cannot contradict itself.
CHARTS_OWN = {
    Settings: {"namespace", "watch_namespaces", "lease_name", "health_port", "pods", "progress", "certificate_secret"},
    PodSettings: {"image", "image_pull_policy"},
    ProgressSettings: {"url", "port"},
}
NOT_OF_THE_OPERATOR = {"enabled"}  # settings.progress.enabled becomes progress.url or null


def values() -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    return settings


def rendered(objects: Objects) -> dict[str, Any]:
    """The settings file in the ConfigMap."""
    text = find(objects, "ConfigMap")["data"]["settings.yaml"]
    settings: dict[str, Any] = yaml.safe_load(text)
    return settings


def default(field: Field) -> Any:
    value = field.default if field.default is not MISSING else field.default_factory()  # type: ignore[operator]
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("of", "offered"),
    [
        (Settings, {k: v for k, v in values().items() if k not in ("pods", "progress")}),
        (PodSettings, values()["pods"]),
        (ProgressSettings, {k: v for k, v in values()["progress"].items() if k not in NOT_OF_THE_OPERATOR}),
    ],
    ids=["settings", "pods", "progress"],
)
def test_the_chart_offers_every_setting_with_the_operators_default(of: type, offered: dict[str, Any]) -> None:
    assert offered == {field.name: default(field) for field in fields(of) if field.name not in CHARTS_OWN[of]}


def test_the_rendered_file_names_only_settings_of_the_operator() -> None:
    file = rendered(render())
    assert set(file) <= {field.name for field in fields(Settings)}
    assert set(file["pods"]) == {field.name for field in fields(PodSettings)}
    assert set(file["progress"]) == {field.name for field in fields(ProgressSettings)}


def test_the_operator_reads_the_rendered_file(values_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(find(render(f"--values={values_file}"), "ConfigMap")["data"]["settings.yaml"])
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
