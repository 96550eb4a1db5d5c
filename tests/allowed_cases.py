"""One table for both enforcers of the allow-lists: specs that go round a list, and specs that do not.

The admission policy (tests/integration/admission) and the operator (tests/unit/operator/test_allowlists.py) must give
the same verdict in the same words. A case is a patch over `tests.rule_cases.BASE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.rule_cases import Json, merge

COMMIT, OTHER_COMMIT = "0123456789abcdef" * 2 + "01234567", "f" * 40
IMAGE = "registry.example/trainer@sha256:" + "a" * 64
LISTED = {"modelNameOrPath": "org/model", "modelRevision": COMMIT, "trustRemoteCode": True}
# As in values.yaml below `settings.allowed`. Every list is set; what the operator itself adds is always allowed.
ALL_LISTS: dict[str, Any] = {
    "remote_code": [f"org/model@{COMMIT}", f"org/reference@{OTHER_COMMIT}"],
    "images": [IMAGE],
    "service_accounts": ["trainer"],
    "max_gpus": 8,
}
# One list at a time: the others must not speak.
IMAGES_ONLY: dict[str, Any] = {"images": [IMAGE]}
REMOTE_CODE_ONLY: dict[str, Any] = {"remote_code": [f"org/model@{COMMIT}"]}
NOTHING_BUT_OURS: dict[str, Any] = {"remote_code": [], "images": [], "service_accounts": [], "max_gpus": 0}
LISTS = {
    "all": ALL_LISTS,
    "images": IMAGES_ONLY,
    "code": REMOTE_CODE_ONLY,
    "ours": NOTHING_BUT_OURS,
}


@dataclass(frozen=True)
class AllowedCase:
    """`rule`: the one that refuses the patch; None: it is allowed. `lists`: which of LISTS is set."""

    name: str
    patch: Json
    rule: str | None = None
    lists: str = "all"


def model(**settings: Any) -> Json:
    """A patch: this model, with its own code trusted."""
    return {"model": {**LISTED, **settings}}


def pod(**fields: Any) -> Json:
    """A patch of podTemplate.spec."""
    return {"podTemplate": {"spec": fields}}


def container(**fields: Any) -> Json:
    """A patch of the overlay of the container `trainer`."""
    return pod(containers=[{"name": "trainer", **fields}])


def init(**fields: Any) -> Json:
    """A patch: one init container."""
    return pod(initContainers=[{"name": "first", **fields}])


def env(name: str) -> Json:
    """A patch: one environment variable."""
    return container(env=[{"name": name, "value": "x"}])


def mount(path: str) -> Json:
    """A patch: a volume of the user's, mounted there."""
    volume = {"name": "own", "persistentVolumeClaim": {"claimName": "own"}}
    return pod(volumes=[volume], containers=[{"name": "trainer", "volumeMounts": [{"name": "own", "mountPath": path}]}])


def reference(**settings: Any) -> Json:
    """A patch: the listed policy, and this reference model."""
    return merge(model(), {"referenceModel": {"model": settings}})


GPU = {"limits": {"amd.com/gpu": 8}}
# Names that bring code into a process, or say where code comes from. The list is one of what may be set, not this one.
DANGEROUS_ENV = (
    "HF_ENDPOINT",
    "HF_HUB_ETAG_TIMEOUT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_MODULES_CACHE",
    "HF_TOKEN_PATH",
    "TRANSFORMERS_CACHE",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONUSERBASE",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "PATH",
    "HOME",
    "HTTPS_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "MPLBACKEND",
    "OMP_TOOL_LIBRARIES",
    "NCCL_NET_PLUGIN",
    "LOCAL_KERNELS",
    "USE_HUB_KERNELS",
    "CC",
    "TRITON_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "GCONV_PATH",
    "BASH_ENV",
)

FSDP = {"fsdp": "full_shard", "fsdpConfig": {"state_dict_type": "FULL_STATE_DICT"}}
SHARDED = {"fsdp": "full_shard", "fsdpConfig": {"state_dict_type": "SHARDED_STATE_DICT"}}

CHECKPOINT_CASES = [
    AllowedCase("checkpoints in one piece", {"gpusPerNode": 2, "training": FSDP}),
    AllowedCase("checkpoints with a pickled index", {"gpusPerNode": 2, "training": SHARDED}, "sealed-fsdp"),
    AllowedCase(
        "checkpoints with a pickled index by default",
        {"gpusPerNode": 2, "training": {"fsdp": "full_shard"}},
        "sealed-fsdp",
    ),
    AllowedCase(
        "pickled checkpoints of DeepSpeed", {"gpusPerNode": 2, "training": {"deepspeed": "{}"}}, "sealed-deepspeed"
    ),
]

REMOTE_CODE_CASES = [
    AllowedCase("a listed commit", model()),
    AllowedCase(
        "a listed commit of the policy and of the reference",
        reference(modelNameOrPath="org/reference", modelRevision=OTHER_COMMIT),
    ),
    AllowedCase("no remote code, from anywhere", {"model": {"modelNameOrPath": "any/model", "modelRevision": "main"}}),
    AllowedCase("remote code switched off in words", model(trustRemoteCode=False, modelNameOrPath="any/model")),
    AllowedCase("another repository", model(modelNameOrPath="org/other"), "remote-code-policy"),
    AllowedCase("another commit", model(modelRevision=OTHER_COMMIT), "remote-code-policy"),
    AllowedCase("a branch", model(modelRevision="main"), "remote-code-policy"),
    AllowedCase("a short commit", model(modelRevision=COMMIT[:12]), "remote-code-policy"),
    AllowedCase("no revision", model(modelRevision=None), "remote-code-policy"),
    AllowedCase("a folder", model(modelNameOrPath="/cache/model"), "remote-code-policy"),
    AllowedCase("a folder that looks like the repository", model(modelNameOrPath="./org/model"), "remote-code-policy"),
    AllowedCase(
        "a commit smuggled into the name",
        model(modelNameOrPath=f"org/model@{COMMIT}", modelRevision=None),
        "remote-code-policy",
    ),
    AllowedCase(
        "another job's output",
        {"model": {"modelNameOrPath": None, "fromJob": "first", "trustRemoteCode": True}},
        "remote-code-policy",
    ),
    AllowedCase(
        "a reference of another repository",
        reference(modelNameOrPath="org/other", modelRevision=COMMIT),
        "remote-code-reference",
    ),
    AllowedCase("a reference without a revision", reference(modelNameOrPath="org/reference"), "remote-code-reference"),
    AllowedCase(
        "a reference in a folder",
        reference(modelNameOrPath="/cache/model", modelRevision=COMMIT),
        "remote-code-reference",
    ),
    AllowedCase("an attention kernel of a hub", {"model": {"attnImplementation": "org/kernel"}}, "hub-kernel-policy"),
    AllowedCase(
        "an attention kernel of a hub for the reference",
        {"referenceModel": {"model": {"modelNameOrPath": "a/b", "attnImplementation": "org/kernel"}}},
        "hub-kernel-reference",
    ),
    AllowedCase("hub kernels", {"dpo": {"modelInitKwargs": {"use_kernels": True}}}, "hub-kernels-dpo"),
    AllowedCase("hub kernels switched off in words", {"dpo": {"modelInitKwargs": {"use_kernels": False}}}),
    AllowedCase("nothing is listed", model(), "remote-code-policy", "ours"),
]

SEAL_CASES = [
    *(AllowedCase(f"variable {name}", env(name), "sealed-env") for name in DANGEROUS_ENV),
    AllowedCase("a variable that only tunes", env("NCCL_DEBUG")),
    AllowedCase(
        "a variable from a Secret",
        container(env=[{"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": {"name": "w", "key": "k"}}}]),
    ),
    AllowedCase(
        "variables that nobody sees", container(envFrom=[{"configMapRef": {"name": "any"}}]), "sealed-env-from"
    ),
    AllowedCase("data of one's own", mount("/data/pairs")),
    AllowedCase("a volume over the trainer", mount("/app"), "sealed-mounts"),
    AllowedCase("a volume over the libraries", mount("/opt/venv/lib/python3.11/site-packages"), "sealed-mounts"),
    AllowedCase("a volume over a folder beside the trainer", mount("/app/org/model"), "sealed-mounts"),
    AllowedCase("a volume over a folder by a detour", mount("/data/../app"), "sealed-mounts"),
    AllowedCase("a volume over a folder of a similar name", mount("/database"), "sealed-mounts"),
    AllowedCase("an init container of the listed image", init(image=IMAGE, command=["sh"]), "sealed-pod-fields"),
    AllowedCase(
        "a name for another address", pod(hostAliases=[{"ip": "10.0.0.1", "hostnames": ["hub"]}]), "sealed-pod-fields"
    ),
    AllowedCase(
        "a name server of one's own",
        pod(dnsPolicy="None", dnsConfig={"nameservers": ["10.0.0.1"]}),
        "sealed-pod-fields",
    ),
    AllowedCase("the node's network", pod(hostNetwork=True), "sealed-pod-fields"),
    AllowedCase("a field that Kubernetes may add", pod(preStartCode={"run": "me"}), "sealed-pod-fields"),
    AllowedCase(
        "where it runs",
        pod(nodeSelector={"pool": "a"}, tolerations=[{"operator": "Exists"}], runtimeClassName="nvidia"),
    ),
    AllowedCase("code alone is listed, and the image is one's own", {"image": IMAGE}, "image", "code"),
    AllowedCase("code alone is listed, GPUs are not counted", {"gpusPerNode": 64}, None, "code"),
]

IMAGE_CASES = [
    AllowedCase("a listed image", {"image": IMAGE}),
    AllowedCase("a tag", {"image": "registry.example/trainer:1"}, "image"),
    AllowedCase("a tag beside the digest", {"image": IMAGE.replace("@", ":1@")}, "image"),
    AllowedCase("another digest", {"image": IMAGE[:-1] + "b"}, "image"),
    AllowedCase("another registry", {"image": f"other/{IMAGE}"}, "image", "images"),
    AllowedCase("an init container of a listed image", init(image=IMAGE), None, "images"),
    AllowedCase("an init container of another image", init(image="busybox"), "init-container-image", "images"),
    AllowedCase("an init container without an image", init(command=["sh"]), "init-container-image", "images"),
    AllowedCase(
        "another image as a volume",
        pod(volumes=[{"name": "v", "image": {"reference": "evil:1"}}]),
        "image-volume",
        "images",
    ),
    AllowedCase(
        "a listed image as a volume", pod(volumes=[{"name": "v", "image": {"reference": IMAGE}}]), None, "images"
    ),
    AllowedCase("images alone are listed, and code is free", model(modelNameOrPath="any/model"), None, "images"),
    AllowedCase("images alone are listed, and variables are free", env("HF_ENDPOINT"), None, "images"),
    AllowedCase("no image but the operator's", {"image": IMAGE}, "image", "ours"),
]

OTHER_CASES = [
    AllowedCase("a listed account", pod(serviceAccountName="trainer")),
    AllowedCase("another account", pod(serviceAccountName="admin"), "service-account-serviceAccountName"),
    AllowedCase("another account by the old name", pod(serviceAccount="admin"), "service-account-serviceAccount"),
    AllowedCase(
        "the default account by its name is listed as any",
        pod(serviceAccountName="default"),
        "service-account-serviceAccountName",
    ),
    AllowedCase("as many GPUs as allowed", {"nodes": 2, "gpusPerNode": 4}),
    AllowedCase("more GPUs on one node", {"gpusPerNode": 9}, "max-gpus"),
    AllowedCase("more GPUs on several nodes", {"nodes": 3, "gpusPerNode": 4}, "max-gpus"),
    AllowedCase("more GPUs of another name", {"gpusPerNode": 9, "gpuResource": "amd.com/gpu"}, "max-gpus"),
    AllowedCase("GPUs among the resources", {"resources": GPU}, "gpus-in-resources"),
    AllowedCase(
        "a part of a GPU among the requests",
        {"resources": {"requests": {"nvidia.com/mig-1g.5gb": 1}}},
        "gpus-in-resources",
    ),
    AllowedCase("resources that are no GPUs", {"resources": {"requests": {"cpu": "2", "hugepages-2Mi": "2Mi"}}}),
    AllowedCase("GPUs of the whole pod", pod(resources=GPU), "gpus-in-pod-resources"),
    AllowedCase("GPUs by a claim", pod(resourceClaims=[{"name": "gpu", "resourceClaimName": "gpu"}]), "gpus-by-claim"),
    AllowedCase("no GPU at all", {"gpusPerNode": 1}, "max-gpus", "ours"),
]

ALLOWED_CASES = [*REMOTE_CODE_CASES, *CHECKPOINT_CASES, *SEAL_CASES, *IMAGE_CASES, *OTHER_CASES]
