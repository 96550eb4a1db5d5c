"""What the chart renders is what a Kubernetes API server takes, for every values file in its ci folder."""

import json
from pathlib import Path

import pytest
import yaml

from tests.chart import schemas
from tests.chart.conftest import CHART, NAMESPACE, OFFLINE, Objects, find, render, run, tool
from tests.integration.apiserver import ApiServer

# What the API server does not know: the Prometheus operator's.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}


@pytest.fixture(scope="module")
def schema_folder(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    schemas.write(json.loads(server.kubectl("get", "--raw", "/openapi/v2").stdout), folder)
    return folder


def kubeconform(folder: Path, objects: Objects) -> tuple[int, dict]:
    """Exit code and report."""
    location = f"{folder}/{schemas.LOCATION}"
    options = ("-strict", "-summary", "-verbose", "-output=json", f"-skip={','.join(FOREIGN)}")
    done = run(
        tool("kubeconform"), f"-schema-location={location}", *options, stdin=yaml.safe_dump_all(objects), check=False
    )
    report: dict = json.loads(done.stdout)
    return done.returncode, report


def test_lint_finds_nothing(values_file: Path) -> None:
    run(tool("helm"), "lint", "--strict", str(CHART), f"--values={values_file}", OFFLINE[0])


def test_every_object_is_valid_by_its_schema(values_file: Path, schema_folder: Path) -> None:
    objects = render(f"--values={values_file}")
    code, report = kubeconform(schema_folder, objects)
    assert code == 0, report
    foreign = sum(o["kind"] in FOREIGN for o in objects)
    assert report["summary"] == {"valid": len(objects) - foreign, "invalid": 0, "errors": 0, "skipped": foreign}


@pytest.mark.parametrize(
    ("field", "value"),
    [("replicas", "two"), ("replica", 2), ("template", {"spec": {"containers": [{"image": "no name"}]}})],
    ids=["wrong type", "unknown field", "missing field"],
)
def test_the_schemas_refuse_what_is_wrong(field: str, value: object, schema_folder: Path) -> None:
    deployment = find(render(), "Deployment")
    deployment["spec"][field] = value
    code, report = kubeconform(schema_folder, [deployment])
    assert code == 1
    assert report["summary"]["invalid"] == 1


def test_the_api_server_takes_every_object(values_file: Path, server: ApiServer) -> None:
    objects = [o for o in render(f"--values={values_file}") if o["kind"] not in FOREIGN]
    dry_run = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
    server.kubectl(*dry_run, input=yaml.safe_dump_all(objects))


def test_every_namespaced_object_names_its_namespace(values_file: Path) -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    cluster_wide |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for obj in render(f"--values={values_file}"):
        where = obj["metadata"].get("namespace")
        assert (where is None) == (obj["kind"] in cluster_wide), obj["metadata"]["name"]
        assert where in (None, NAMESPACE, "team-a", "team-b")


def test_a_tenants_release_is_namespaced_throughout() -> None:
    objects = render(f"--values={CHART / 'ci' / 'tenant-values.yaml'}")
    assert all("namespace" in obj["metadata"] for obj in objects)


def test_the_definition_is_the_generated_one() -> None:
    file = yaml.safe_load((CHART / "files" / "alignmentjobs.crd.yaml").read_text())
    rendered = find(render(), "CustomResourceDefinition")
    assert rendered["spec"] == file["spec"]
    assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_pods_are_let_into_a_namespace_of_level_restricted(values_file: Path, server: ApiServer) -> None:
    # Pod Security judges pods, so the Deployment's template is sent as one.
    name = f"restricted-{values_file.name.removesuffix('-values.yaml')}"
    label = "pod-security.kubernetes.io/enforce: restricted"
    server.kubectl(
        *("apply", "-f", "-"),
        input=f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{{label}}}}}}}",
    )
    template = find(render(f"--values={values_file}"), "Deployment")["spec"]["template"]
    template["spec"].pop("priorityClassName", None)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator", "namespace": name}}
    server.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(pod | {"spec": template["spec"]}))


def test_the_suites_beside_the_templates_pass() -> None:
    done = run(tool("helm-unittest"), "--strict", "--color=false", str(CHART), check=False)
    assert done.returncode == 0, done.stdout
