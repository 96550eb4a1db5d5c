"""Objects that the cluster itself needs, applied on every start: roles of its components and the storage classes."""

from typing import Any

from .node import PROVISIONER_NAMESPACE, SHELL_IMAGE

_RBAC = "rbac.authorization.k8s.io"


def objects() -> list[dict[str, Any]]:
    return [*_kubelet_access(), *_dns_access(), *_storage_access(), *_storage()]


def _kubelet_access() -> list[dict[str, Any]]:
    """Lets the API server's certificate read logs and run commands on the node."""
    return [_bind_user("kube-apiserver-kubelet-client", "system:kubelet-api-admin", "local:kube-apiserver-to-kubelet")]


def _dns_access() -> list[dict[str, Any]]:
    reads = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": reads},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": reads},
    ]
    return [_cluster_role("local:coredns", rules), _bind_user("system:coredns", "local:coredns", "local:coredns")]


_READ_BY_PROVISIONER = ["nodes", "persistentvolumeclaims", "configmaps", "pods", "pods/log"]


def _storage_access() -> list[dict[str, Any]]:
    """The rules of local-path-provisioner's own manifest, for a user instead of a service account."""
    reads = ["get", "list", "watch"]
    writes = [*reads, "create", "patch", "update", "delete"]
    rules = [
        {"apiGroups": [""], "resources": _READ_BY_PROVISIONER, "verbs": reads},
        {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": writes},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": reads},
    ]
    metadata = {"name": "local-path-provisioner", "namespace": PROVISIONER_NAMESPACE}
    pods = {"apiGroups": [""], "resources": ["pods"], "verbs": writes}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PROVISIONER_NAMESPACE}},
        _cluster_role("local:path-provisioner", rules),
        _bind_user("local-path-provisioner", "local:path-provisioner", "local:path-provisioner"),
        {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": [pods]},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": "local-path-provisioner"},
            "subjects": [_user("local-path-provisioner")],
        },
    ]


def _storage() -> list[dict[str, Any]]:
    """`local-path` is the default (ReadWriteOnce); `local-path-shared` also allows ReadWriteMany."""
    account = {"name": "local-path-provisioner-service-account", "namespace": PROVISIONER_NAMESPACE}
    scripts = {
        "setup": '#!/bin/sh\nset -eu\nmkdir -m 0777 -p "$VOL_DIR"\n',
        "teardown": '#!/bin/sh\nset -eu\nrm -rf "$VOL_DIR"\n',
        "helperPod.yaml": _HELPER_POD,
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "local-path-config", "namespace": PROVISIONER_NAMESPACE},
            "data": scripts,
        },
        _storage_class("local-path", default=True),
        _storage_class("local-path-shared", default=False),
    ]


# The provisioner starts this pod once to make a volume's folder and once to delete it.
_HELPER_POD = f"""apiVersion: v1
kind: Pod
metadata:
  name: helper-pod
spec:
  automountServiceAccountToken: false
  priorityClassName: system-node-critical
  terminationGracePeriodSeconds: 0
  containers:
  - name: helper-pod
    image: {SHELL_IMAGE}
    imagePullPolicy: IfNotPresent
"""


def _storage_class(name: str, default: bool) -> dict[str, Any]:
    marks = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": marks},
        "provisioner": "rancher.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer" if default else "Immediate",
        "reclaimPolicy": "Delete",
    }


def _cluster_role(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}


def _bind_user(user: str, role: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [_user(user)],
    }


def _user(name: str) -> dict[str, str]:
    return {"apiGroup": _RBAC, "kind": "User", "name": name}
