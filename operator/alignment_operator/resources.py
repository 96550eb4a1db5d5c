"""The API resources that the operator reads and writes, and where they live. Pure data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object. `api` is `v1` or `group/version`, `plural` its name in URLs."""

    api: str
    plural: str
    kind: str

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api.rpartition("/")[2]

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of the collection (of the whole cluster, without a namespace), an object or its subresource."""
        prefix = "/apis/" if self.group else "/api/"
        parts = [prefix + self.api]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


ALIGNMENT_JOBS = Resource("alignment-operator.io/v1alpha1", "alignmentjobs", "AlignmentJob")
JOBS = Resource("batch/v1", "jobs", "Job")
PODS = Resource("v1", "pods", "Pod")
CONFIG_MAPS = Resource("v1", "configmaps", "ConfigMap")
CLAIMS = Resource("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SERVICES = Resource("v1", "services", "Service")
EVENTS = Resource("v1", "events", "Event")
SECRETS = Resource("v1", "secrets", "Secret")
WORKLOADS = Resource("kueue.x-k8s.io/v1beta2", "workloads", "Workload")
NETWORK_POLICIES = Resource("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy")
LEASES = Resource("coordination.k8s.io/v1", "leases", "Lease")

_MADE = (ALIGNMENT_JOBS, JOBS, PODS, CONFIG_MAPS, SERVICES, NETWORK_POLICIES, EVENTS, SECRETS, LEASES)
_BY_KIND = {resource.kind: resource for resource in _MADE}


def of(manifest: dict) -> Resource:
    """The resource of a manifest, by its kind."""
    return _BY_KIND[manifest["kind"]]
