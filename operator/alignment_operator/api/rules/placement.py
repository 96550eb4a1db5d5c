"""Rules about what the operator adds: processes, volumes, the pod, the upload."""

from alignment_operator.api.constants import (
    CONTAINER,
    MANAGED_BY_LABEL,
    RESERVED_ENV_NAMES,
    RESERVED_ENV_PREFIXES,
    RESERVED_LABEL_PREFIXES,
    RESERVED_MOUNT_PATTERN,
    RESERVED_MOUNTS,
    RESERVED_VOLUME_PREFIX,
)
from alignment_operator.api.podtemplate import RESERVED_CONTAINER_FIELDS, RESERVED_POD_FIELDS
from alignment_operator.api.rules.rule import FORBIDDEN, REQUIRED, TRAINS_ADAPTER, Rule, has, on, when

__all__ = ["PLACEMENT_RULES"]

LASTING = ("persistentVolumeClaim", "nfs", "hostPath", "csi")
RESERVED_LABELS = (*RESERVED_LABEL_PREFIXES, MANAGED_BY_LABEL)
PASSING = ("emptyDir", "ephemeral")
READ_ONLY = ("secret", "configMap", "image", "projected", "downwardAPI")


def _volume(where: str, refused: dict[str, str]) -> list[Rule]:
    rules = [
        Rule(
            f"{where.replace('.', '-')}-{kind}",
            when(has(where), f"!has(self.{where}.{kind})"),
            f"{why}: use a persistentVolumeClaim",
            f"{where}.{kind}",
            "checkpoints and the model are lost, or cannot be written",
            FORBIDDEN,
        )
        for kind, why in refused.items()
    ]
    count = Rule(
        f"{where.replace('.', '-')}-one",
        when(has(where), f"size(dyn(self.{where})) == 1"),  # its fields are kinds, and counting reads none of them
        f"set exactly one kind of volume: {', '.join(LASTING)}",
        where,
        "the API server refuses the pod",
        REQUIRED,
    )
    return [*rules, count]


_DIES = dict.fromkeys(PASSING, "dies with the pod")
_CANNOT_WRITE = dict.fromkeys(READ_ONLY, "is read-only")

OUTPUT_RULES = [
    *_volume("output.volume", {**_DIES, **_CANNOT_WRITE}),
    *_volume("cache.volume", _CANNOT_WRITE),
    Rule(
        "output-sub-path",
        when(
            has("output.subPath"),
            "!self.output.subPath.startsWith('/') && !self.output.subPath.matches('(^|/)[.][.](/|$)')",
        ),
        "must be a relative path without ..",
        "output.subPath",
        "the output would leave the folder that the volume was given for",
    ),
    Rule(
        "merge-adapter",
        when(on("output.merge"), f"{TRAINS_ADAPTER} || {has('model.fromJob')}"),
        "there is no adapter to merge: remove merge, or set model.usePeft: true",
        "output.merge",
        "nothing would be merged",
    ),
    Rule(
        "push-token",
        when(has("output.push"), f"has(self.output.push.secretName) || {has('hub')}"),
        "the upload needs a token: set output.push.secretName, or spec.hub",
        "output.push.secretName",
        "the hub refuses the upload after hours of training",
        REQUIRED,
    ),
]


_COUNTED = "GPUs are counted by gpusPerNode (and named by gpuResource): remove {} here"


def _no_gpu(kind: str) -> tuple[Rule, Rule]:
    """The name that is known reads nothing beside the map itself; few jobs give another."""
    path = f"resources.{kind}"
    why = "two numbers of GPUs, one of which is ignored"
    known = when(has(path), f"!('nvidia.com/gpu' in self.{path})")
    named = when(f"has(self.gpuResource) && {has(path)}", f"!(self.gpuResource in self.{path})")
    return (
        Rule(f"gpu-in-{kind}", known, _COUNTED.format("nvidia.com/gpu"), path, why, FORBIDDEN),
        Rule(f"gpu-resource-in-{kind}", named, _COUNTED.format("what gpuResource names"), path, why, FORBIDDEN),
    )


PROCESS_RULES = [
    Rule(
        "processes-per-gpu",
        when("has(self.processesPerNode) && self.gpusPerNode > 0", "self.processesPerNode == self.gpusPerNode"),
        "one process drives one GPU: remove processesPerNode, or set it to gpusPerNode",
        "processesPerNode",
        "ValueError: DPOTrainer does not support `nn.DataParallel`; with more processes, NCCL refuses a duplicate GPU",
    ),
    *(rule for kind in ("requests", "limits") for rule in _no_gpu(kind)),
]

_CONTAINERS = has("podTemplate.spec.containers")


def _prefixed(variable: str, prefixes: tuple[str, ...]) -> str:
    return " || ".join(f"{variable}.startsWith('{prefix}')" for prefix in prefixes)


POD_RULES = [
    *(
        Rule(
            f"pod-{field}",
            when(has("podTemplate.spec"), f"!has(self.podTemplate.spec.{field})"),
            f"reserved: {cure}",
            f"podTemplate.spec.{field}",
            "the operator's own value would be overwritten",
            FORBIDDEN,
        )
        for field, cure in RESERVED_POD_FIELDS.items()
    ),
    Rule(
        "pod-containers",
        when(_CONTAINERS, f"self.podTemplate.spec.containers.all(c, c.name == '{CONTAINER}')"),
        f"only {CONTAINER} can be overlaid: write a sidecar as an init container with restartPolicy: Always",
        "podTemplate.spec.containers",
        "a second container that does not end keeps the Job from ending",
        FORBIDDEN,
    ),
    *(
        Rule(
            f"container-{field}",
            when(_CONTAINERS, f"!self.podTemplate.spec.containers.exists(c, has(c.{field}))"),
            f"{field} of the container {CONTAINER} is reserved: {cure}",
            "podTemplate.spec.containers",
            "the operator's own value would be overwritten",
            FORBIDDEN,
        )
        for field, cure in RESERVED_CONTAINER_FIELDS.items()
    ),
    Rule(
        "container-env",
        when(
            _CONTAINERS,
            "!self.podTemplate.spec.containers.exists(c, has(c.env) && c.env.exists(e, "
            f"{_prefixed('e.name', RESERVED_ENV_PREFIXES)} || e.name in {list(RESERVED_ENV_NAMES)}))",
        ),
        f"environment variables that start with {', '.join(RESERVED_ENV_PREFIXES)}, and "
        f"{', '.join(RESERVED_ENV_NAMES)}, are reserved: rename it",
        "podTemplate.spec.containers",
        "the operator's own value would be overwritten",
        FORBIDDEN,
    ),
    Rule(
        "container-mounts",
        when(
            _CONTAINERS,
            "!self.podTemplate.spec.containers.exists(c, has(c.volumeMounts) && c.volumeMounts.exists(m, "
            f"m.name.startsWith('{RESERVED_VOLUME_PREFIX}') || (has(m.mountPath) && "
            f"m.mountPath.matches('{RESERVED_MOUNT_PATTERN}'))))",
        ),
        f"volumes named {RESERVED_VOLUME_PREFIX}... and mounts at {', '.join(RESERVED_MOUNTS)} are reserved: "
        "choose another",
        "podTemplate.spec.containers",
        "the recipe would be hidden",
        FORBIDDEN,
    ),
    Rule(
        "init-container-name",
        when(
            has("podTemplate.spec.initContainers"),
            f"!self.podTemplate.spec.initContainers.exists(c, c.name == '{CONTAINER}')",
        ),
        f"{CONTAINER} is the name of the main container: choose another",
        "podTemplate.spec.initContainers",
        "the API server refuses the pod",
        FORBIDDEN,
    ),
    Rule(
        "pod-volumes",
        when(
            has("podTemplate.spec.volumes"),
            f"!self.podTemplate.spec.volumes.exists(v, v.name.startsWith('{RESERVED_VOLUME_PREFIX}'))",
        ),
        f"volume names that start with {RESERVED_VOLUME_PREFIX} are reserved: rename it",
        "podTemplate.spec.volumes",
        "the operator's own volume would be overwritten",
        FORBIDDEN,
    ),
    Rule(
        "pod-labels",
        when(
            has("podTemplate.metadata.labels"),
            f"!self.podTemplate.metadata.labels.exists(key, {_prefixed('key', RESERVED_LABELS)})",
        ),
        f"labels that start with {', '.join(RESERVED_LABELS)} are reserved: remove it (see spec.queueName)",
        "podTemplate.metadata.labels",
        "the operator and the Job controller find their pods by them",
        FORBIDDEN,
    ),
]

PLACEMENT_RULES = [*OUTPUT_RULES, *PROCESS_RULES, *POD_RULES]
