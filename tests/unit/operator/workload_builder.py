"""Builder of a Kueue Workload as the API server's JSON has it, in the states that Kueue 0.15 was seen to write."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Self

from alignment_operator.views import WorkloadView
from alignment_operator.workloads import project_workload
from tests.unit.operator.builders import NAME, NAMESPACE, at

NO_ROOM = (
    "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor small, 1 more "
    "needed"
)


class Workload:
    """Of the child Job of run 1; Kueue has just made it."""

    def __init__(self, run: int = 1) -> None:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": f"{NAME}-r{run}", "uid": f"job-{run}"}
        metadata: dict[str, Any] = {
            "name": f"job-{NAME}-r{run}-1a2b3",
            "namespace": NAMESPACE,
            "uid": f"workload-{run}",
        }
        metadata |= {"ownerReferences": [{**owner, "controller": True}], "resourceVersion": "7"}
        self.obj: dict[str, Any] = {
            "apiVersion": "kueue.x-k8s.io/v1beta2",
            "kind": "Workload",
            "metadata": metadata,
            "spec": {"queueName": "gpus", "active": True},
            "status": {},
        }

    def condition(self, kind: str, status: bool, reason: str, message: str = "") -> Self:
        made = {"type": kind, "status": str(status), "reason": reason, "message": message, "lastTransitionTime": at(-9)}
        others = [c for c in self.obj["status"].get("conditions", []) if c["type"] != kind]
        self.obj["status"]["conditions"] = [*others, made]
        return self

    def pending(self, message: str = NO_ROOM, reason: str = "Pending") -> Self:
        return self.condition("QuotaReserved", False, reason, message)

    def admitted(self) -> Self:
        self.condition("QuotaReserved", True, "QuotaReserved", "Quota reserved in ClusterQueue all")
        return self.condition("Admitted", True, "Admitted", "The workload is admitted")

    def checking(self, name: str, message: str) -> Self:
        """Quota is reserved, an admission check is not through."""
        self.condition("QuotaReserved", True, "QuotaReserved", "Quota reserved in ClusterQueue all")
        self.obj["status"]["admissionChecks"] = [{"name": name, "state": "Pending", "message": message}]
        return self

    def evicted(self, reason: str, message: str) -> Self:
        self.condition("Admitted", False, "NoReservation", "The workload has no reservation")
        return self.condition("Evicted", True, reason, message).pending(message)

    def in_queue(self, name: str) -> Self:
        self.obj["spec"]["queueName"] = name
        return self

    def inactive(self, by: str) -> Self:
        """`spec.active` was set to false by that field manager."""
        self.obj["spec"]["active"] = False
        return self.written_by(by)

    def written_by(self, manager: str) -> Self:
        fields = {"f:spec": {"f:active": {}}}
        entry = {"manager": manager, "operation": "Update", "apiVersion": self.obj["apiVersion"], "fieldsV1": fields}
        self.obj["metadata"]["managedFields"] = [entry]
        return self

    def view(self) -> WorkloadView:
        return project_workload(deepcopy(self.obj))
