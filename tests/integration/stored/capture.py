"""`PYTHONPATH=RELEASE/operator python -m tests.integration.stored.capture v0.1.0`: what that release's operator stores.

Jobs in every state that lasts, on a simulated cluster: the control jobs of the chaos test, some that wait, and every
example.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from alignment_operator.api.crd import crd
from alignment_operator.cluster import connect
from dev.simulated import SimulatedCluster, simulated_cluster
from tests.chaos.scripts import BASE, Plan, Script, controls, pods
from tests.chaos.users import Users

from . import FOLDER, NAMESPACE, Etcd

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SETTLE_SECONDS = 15
# kind -> where the API server keeps it
CHILDREN = {"jobs": "jobs", "pods": "pods", "configmaps": "configmaps", "services": "services/specs"}
Json = dict[str, Any]


def waiting() -> dict[str, Json]:
    """Specs of jobs that do not end: name -> spec."""
    bad = {"spec": {"tolerations": [{"key": "a", "operator": "Nonsense"}]}}
    found = {
        "runs": BASE | {"podTemplate": pods(endless="true")},
        "waits-for-another": BASE | {"model": {"fromJob": "no-such-job"}},
        "is-refused": BASE | {"podTemplate": bad},
        "is-suspended": BASE | {"suspend": True},
    }
    for path in sorted(EXAMPLES.glob("*.yaml")):
        documents = yaml.safe_load_all(path.read_text())
        spec = next(each["spec"] for each in documents if each["kind"] == "AlignmentJob")
        found[path.stem] = spec | {"suspend": True}
    return found


async def capture(cluster: SimulatedCluster) -> dict[str, str]:
    """etcd's key -> value, of everything in the namespace."""
    direct = await connect(str(cluster.kubeconfig))
    users = Users(direct, NAMESPACE)
    lasting = [plan for plan in controls() if not plan.script.gone]
    await users.play([*lasting, *(Plan(0.0, name, Script(name), spec) for name, spec in waiting().items())])
    while await users.unfinished(lasting):
        await asyncio.sleep(1)
    await asyncio.sleep(SETTLE_SECONDS)
    await direct.close()
    found = Etcd(f"http://127.0.0.1:{cluster.layout.ports.etcd}").get(
        f"/registry/alignment-operator.io/alignmentjobs/{NAMESPACE}/"
    )
    for kind, place in CHILDREN.items():
        listed = json.loads(cluster.kubectl("get", kind, f"-n={NAMESPACE}", "-o=json").stdout)["items"]
        for item in listed:
            del item["metadata"]["resourceVersion"]
            found[f"/registry/{place}/{NAMESPACE}/{item['metadata']['name']}"] = json.dumps(item)
    return found


def main() -> None:
    (release,) = sys.argv[1:]
    folder = Path(tempfile.mkdtemp(prefix="stored-"))
    with simulated_cluster(folder, nodes=1) as cluster:
        cluster.apply(crd(), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        cluster.wait("AlignmentJobs", lambda: cluster.kubectl("get", "alignmentjobs", check=False).returncode == 0)
        command = [sys.executable, "-m", "alignment_operator", "run", f"--kubeconfig={cluster.kubeconfig}"]
        with (folder / "operator.log").open("wb") as log:
            operator = subprocess.Popen([*command, f"--namespace={NAMESPACE}"], stdout=log, stderr=log)
            try:
                found = asyncio.run(capture(cluster))
            finally:
                operator.terminate()
                operator.wait()
    lines = {key: json.loads(value) for key, value in sorted(found.items()) if "kube-root-ca" not in key}
    (FOLDER / f"{release}.json").write_text(json.dumps(lines, indent=1) + "\n")
    print(f"{len(lines)} objects in {FOLDER / release}.json")


if __name__ == "__main__":
    main()
