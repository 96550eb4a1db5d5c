"""Every program that the cluster can build from Go modules: where it is, how it is linked, what on PATH will do."""

from dataclasses import dataclass

from .layout import KUBERNETES_VERSION

_COMPONENT = "k8s.io/component-base/version"
_MAJOR, _MINOR = KUBERNETES_VERSION.removeprefix("v").split(".")[:2]
# Without these the API server and the kubelet say that they are v0.0.0, and version checks fail.
_KUBERNETES_LINK = (
    f"-X {_COMPONENT}.gitVersion={KUBERNETES_VERSION} -X {_COMPONENT}.gitMajor={_MAJOR} "
    f"-X {_COMPONENT}.gitMinor={_MINOR} -X {_COMPONENT}.gitTreeState=clean"
)


@dataclass(frozen=True)
class Tool:
    """A program built from `dev/go/MODULE`.

    `version` are the arguments that make the program on PATH print its version, `fits` the versions, by prefix,
    that are used instead of a build (empty: always build).
    """

    name: str
    module: str
    package: str
    link: str = ""
    version: tuple[str, ...] = ("--version",)
    fits: tuple[str, ...] = ()


def _kubernetes(name: str) -> Tool:
    return Tool(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", _KUBERNETES_LINK, fits=(f"{_MAJOR}.{_MINOR}",))


CORE = (
    # The first compiles nearly all of Kubernetes; others wait for it and for kubectl, so these two come first.
    _kubernetes("kube-apiserver"),
    Tool(
        "kubectl",
        "kubernetes",
        "k8s.io/kubernetes/cmd/kubectl",
        _KUBERNETES_LINK,
        version=("version", "--client"),
        fits=tuple(f"{_MAJOR}.{int(_MINOR) + skew}" for skew in (-1, 0, 1)),
    ),
    Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3", fits=("3.6",)),
    _kubernetes("kubelet"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kube-proxy"),
    Tool("registry", "registry", ".", fits=("3.",)),
    Tool("coredns", "coredns", ".", fits=("1.11", "1.12", "1.13", "1.14")),
    Tool(
        "local-path-provisioner",
        "local-path-provisioner",
        "github.com/rancher/local-path-provisioner",
        "-X main.VERSION=v0.0.30",
        fits=("0.0.30", "0.0.31", "0.0.32"),
    ),
    Tool(
        "helm",
        "helm",
        "helm.sh/helm/v3/cmd/helm",
        # Without the last two, `helm template` and `helm lint` believe in Kubernetes 1.20 and refuse every newer chart.
        "-X helm.sh/helm/v3/internal/version.version=v3.20.2 "
        "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=35",
        version=("version", "--short"),
        fits=tuple(f"3.{minor}" for minor in range(16, 30)),
    ),
)

# Not part of the cluster: built when a check or a test asks for them by name.
OPTIONAL = (
    Tool("kubeconform", "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
    Tool("helm-unittest", "helm-unittest", "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"),
    Tool("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
    Tool("kube-network-policies", "kube-network-policies", "sigs.k8s.io/kube-network-policies/cmd"),
    Tool("kueue", "kueue", "sigs.k8s.io/kueue/cmd/kueue"),
    Tool(
        "trainer-controller-manager",
        "kubeflow-trainer",
        "github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager",
    ),
    Tool("jobset", "kubeflow-trainer", "sigs.k8s.io/jobset"),
    Tool("argocd-lua", "argocd-lua", "."),
    Tool("kustomize-controller", "kustomize-controller", "github.com/fluxcd/kustomize-controller"),
    Tool("flux-health", "kustomize-controller", "."),
)

BY_NAME = {tool.name: tool for tool in CORE + OPTIONAL}
