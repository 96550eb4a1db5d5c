"""What is compared: a controller (or two) that turns an object of a user into a Job."""

from __future__ import annotations

from typing import Any, Protocol

from dev.simulated.cluster import SimulatedCluster
from dev.simulated.processes import Process

Json = dict[str, Any]


class Side(Protocol):
    """`name` in tables; `collection`: URL path of the users' objects, with {namespace}; `resource`: their plural."""

    name: str
    collection: str
    resource: str

    @property
    def users(self) -> tuple[str, ...]:
        """The controllers' names in the audit log."""
        ...

    @property
    def processes(self) -> dict[str, Process]:
        """The controllers, by the names of tables."""
        ...

    @property
    def restarts(self) -> int:
        """How often a controller has ended by itself, to be started again, and was."""
        ...

    def check(self) -> None:
        """Raises ClusterError when a controller has ended for good."""
        ...

    def prepare(self, cluster: SimulatedCluster) -> None:
        """Install once what the controllers need."""
        ...

    def start(self) -> None:
        """Start the controllers and wait until they work."""
        ...

    def stop(self) -> None:
        """End them as a rollout would."""
        ...

    def manifest(self, namespace: str, name: str, **annotations: str) -> Json:
        """The object of one user; the annotations go to its pod (dev/simulated/pods.py)."""
        ...

    def job_of(self, name: str) -> str:
        """Name of the Job that the object of that name gets."""
        ...

    def is_complete(self, obj: Json) -> bool:
        """Whether the object itself says that it is done."""
        ...
