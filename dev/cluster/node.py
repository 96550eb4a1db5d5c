"""What runs on the node, with its configuration: registry, containerd, kubelet, kube-proxy, CoreDNS, provisioner."""

import os
import shutil
from typing import Any

from .files import write, write_json
from .layout import (
    CLUSTER_DOMAIN,
    CONTAINERD_SOCKET,
    CONTAINERD_STATE,
    KUBERNETES_VERSION,
    NODE_ADDRESS,
    NODE_NAME,
    POD_CIDR,
    REGISTRY,
    REGISTRY_ADDRESS,
    SERVICE_CIDR,
    Layout,
    cache,
)
from .packages import CNI_PLUGINS
from .processes import Daemon

CNI_NETWORK = "alignment-cluster"
PAUSE_IMAGE = f"{REGISTRY}/pause:1"
SHELL_IMAGE = f"{REGISTRY}/busybox:1"
KUBECTL_IMAGE = f"{REGISTRY}/kubectl:{KUBERNETES_VERSION}"
PROXY_HEALTH = f"http://{NODE_ADDRESS}:10256/healthz"
DNS_HEALTH = f"http://{NODE_ADDRESS}:8181/ready"
PROVISIONER_NAMESPACE = "local-path-storage"


def registry(layout: Layout) -> Daemon:
    """Its blobs, addressed by content, belong to the user: another clone finds the layers that one has pushed."""
    blobs = cache() / "registry"
    blobs.mkdir(parents=True, exist_ok=True)
    config = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(blobs)}, "delete": {"enabled": True}},
        "http": {"addr": REGISTRY_ADDRESS},
    }
    path = write_json(layout.config / "registry.json", config)
    environment = {"OTEL_TRACES_EXPORTER": "none"}  # its default sends traces to a collector that is not there
    return Daemon("registry", [_program(layout, "registry"), "serve", str(path)], environment, reads=(path,))


def containerd(layout: Layout) -> Daemon:
    hosts, endpoint = layout.config / "registries", f"http://{REGISTRY_ADDRESS}"
    hosts_file = f'server = "{endpoint}"\n[host."{endpoint}"]\n  capabilities = ["pull", "resolve"]\n'
    write(hosts / REGISTRY / "hosts.toml", hosts_file)
    write_json(layout.config / "cni/10-pods.conflist", _CNI | {"plugins": [_ptp(layout)]})
    text = _CONTAINERD.format(root=layout.containerd, hosts=hosts, cni=layout.config / "cni")
    path = write(layout.config / "containerd.toml", text)
    program = shutil.which("containerd") or "/usr/bin/containerd"
    return Daemon("containerd", [program, "--config", str(path)], reads=(path,))


# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower an oom_score_adj, and no sandbox would start.
# discard_unpacked_layers: a layer that is unpacked needs no compressed copy beside it.
_CONTAINERD = f"""version = 2
root = "{{root}}"
state = "{CONTAINERD_STATE}"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    discard_unpacked_layers = true
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{{cni}}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{{hosts}}"
"""

_CNI = {"cniVersion": "0.4.0", "name": CNI_NETWORK}


def _ptp(layout: Layout) -> dict[str, object]:
    """Every packet between pods is routed by the node; a bridge would pass a service's answers past kube-proxy.

    Routes lead to the cluster's own ranges only: there is no default route, so nothing else can be reached.
    """
    ranges = [{"dst": f"{NODE_ADDRESS}/32"}, {"dst": SERVICE_CIDR}]
    address = {
        "type": "host-local",
        "dataDir": str(layout.base / "cni"),
        "ranges": [[{"subnet": POD_CIDR}]],
        "routes": ranges,
    }
    return {"type": "ptp", "ipMasq": False, "ipam": address}


def kubelet(layout: Layout) -> Daemon:
    path = write_json(layout.config / "kubelet.json", _kubelet_configuration(layout))
    layout.kubelet.mkdir(parents=True, exist_ok=True)
    argv = [
        _program(layout, "kubelet"),
        f"--config={path}",
        f"--kubeconfig={layout.kubeconfig_of('kubelet')}",
        f"--root-dir={layout.kubelet}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE_ADDRESS}",
        f"--node-labels=kubernetes.io/os=linux,alignment-operator.io/cluster={NODE_NAME}",
    ]
    return Daemon("kubelet", argv, reads=(path, layout.pki / "kubelet-server.crt"))


def _kubelet_configuration(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzBindAddress": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": layout.certificate("ca")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": layout.certificate("kubelet-server"),
        "tlsPrivateKeyFile": layout.key("kubelet-server"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": "/dev/null",  # the machine's own name servers are not for pods
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "imageGCHighThresholdPercent": 100,  # never: an image pushed here exists nowhere else
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
        "podLogsDir": str(layout.log / "pods"),
        "volumePluginDir": str(layout.kubelet / "volume-plugins"),
        "syncFrequency": "10s",
        "shutdownGracePeriod": "0s",
    }


def kube_proxy(layout: Layout) -> Daemon:
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(layout.kubeconfig_of("kube-proxy"))},
        "hostnameOverride": NODE_NAME,
        "clusterCIDR": POD_CIDR,
        "healthzBindAddress": f"{NODE_ADDRESS}:10256",
        "metricsBindAddress": f"{NODE_ADDRESS}:10249",
        "nodePortAddresses": [f"{NODE_ADDRESS}/32"],
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "1s"},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "oomScoreAdj": 0,
    }
    path = write_json(layout.config / "kube-proxy.json", config)
    return Daemon(
        "kube-proxy", [_program(layout, "kube-proxy"), f"--config={path}"], reads=(path, layout.pki / "kube-proxy.crt")
    )


def coredns(layout: Layout) -> Daemon:
    """Answers for the cluster's names, NXDOMAIN for every other: no query goes to the machine's name servers."""
    path = write(layout.config / "Corefile", _COREFILE.format(kubeconfig=layout.kubeconfig_of("coredns")))
    reads = (path, layout.pki / "coredns.crt")
    return Daemon("coredns", [_program(layout, "coredns"), "-conf", str(path)], reads=reads)


_COREFILE = f"""{CLUSTER_DOMAIN} in-addr.arpa {{{{
    bind {NODE_ADDRESS}
    errors
    ready {NODE_ADDRESS}:8181
    cache 5
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{{{
        kubeconfig {{kubeconfig}}
        pods insecure
        ttl 5
    }}}}
}}}}
. {{{{
    bind {NODE_ADDRESS}
    template ANY ANY {{{{
        rcode NXDOMAIN
    }}}}
}}}}
"""


def storage_provisioner(layout: Layout) -> Daemon:
    layout.volumes.mkdir(parents=True, exist_ok=True)
    config = {
        "storageClassConfigs": {
            "local-path": {
                "nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [str(layout.volumes)]}]
            },
            "local-path-shared": {"sharedFileSystemPath": str(layout.volumes)},
        }
    }
    path = write_json(layout.config / "local-path.json", config)
    argv = [
        *(_program(layout, "local-path-provisioner"), "start", f"--config={path}", f"--helper-image={SHELL_IMAGE}"),
        *(f"--kubeconfig={layout.kubeconfig_of('local-path-provisioner')}", f"--namespace={PROVISIONER_NAMESPACE}"),
    ]
    return Daemon("local-path-provisioner", argv, reads=(path, layout.pki / "local-path-provisioner.crt"))


def _program(layout: Layout, name: str) -> str:
    return os.path.realpath(layout.bin / name)
