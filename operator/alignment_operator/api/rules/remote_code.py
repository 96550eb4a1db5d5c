"""The rules of `settings.allowed.remote_code`: which models' code may run, and what would bring other code into a pod.

Part of `allowed.py`, which says what `self` and `allowed` are. A list seals the pod: whatever could bring other code
into it, or take the listed code from elsewhere, is refused, so these rules say what may stay.
"""

from __future__ import annotations

from alignment_operator.api.rules.rule import METHODS, REMOTE_CODE, AllowedRule, has, on, when

__all__ = ["REMOTE_CODE_RULES", "SEALED_MOUNTS", "SEALED_POD_FIELDS"]

# Fields of a pod that bring no code and redirect no name. What Kubernetes adds is refused until somebody has looked.
SEALED_POD_FIELDS = (
    "affinity",
    "containers",
    "imagePullSecrets",
    "nodeSelector",
    "preemptionPolicy",
    "resourceClaims",
    "resources",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
)
SEALED_MOUNTS = "^/(mnt|data)(/|$)"

_TRUSTS = on("model.trustRemoteCode")
_SEALED = "the operator runs listed model code only (settings.allowed.remote_code), so "
_CONTAINERS = has("podTemplate.spec.containers")


def _listed(where: str) -> str:
    """CEL: the model at this path is one of the listed commits."""
    name, revision = f"{where}.modelNameOrPath", f"{where}.modelRevision"
    return f"{has(name)} && {has(revision)} && ((self.{name} + '@' + self.{revision}) in allowed.remoteCode)"


_LIST = "one of settings.allowed.remote_code (REPOSITORY@COMMIT)"
_MODEL_RULES = [
    AllowedRule(
        "remote-code-policy",
        (REMOTE_CODE,),
        when(_TRUSTS, _listed("model")),
        f"set model.modelNameOrPath and model.modelRevision (the commit, 40 hex digits) to {_LIST}, "
        "or remove trustRemoteCode",
        "model.trustRemoteCode",
        "a branch moves, and a folder or another job's output holds whatever its owner wrote",
    ),
    AllowedRule(
        "remote-code-reference",
        (REMOTE_CODE,),
        when(f"{_TRUSTS} && {has('referenceModel.model')}", _listed("referenceModel.model")),
        f"trustRemoteCode holds for it too: set its modelNameOrPath and modelRevision to {_LIST}, "
        "or remove model.trustRemoteCode",
        "referenceModel.model.modelRevision",
        "the reference model's code runs in the same process",
    ),
    AllowedRule(
        "remote-code-offline",
        (REMOTE_CODE,),
        f"!({_TRUSTS} && allowed.offline)",
        "the operator's pods are offline, and a cache volume cannot prove that it holds the listed commit: "
        "remove trustRemoteCode",
        "model.trustRemoteCode",
        "who can write to the cache volume would choose the code",
    ),
    *(
        AllowedRule(
            f"hub-kernel-{name}",
            (REMOTE_CODE,),
            when(has(path), f"!self.{path}.contains('/')"),
            f"{_SEALED}attention kernels from a hub are refused: set sdpa, eager, flex_attention or flash_attention_2",
            path,
            "a kernel is compiled code of another repository",
        )
        for name, path in (
            ("policy", "model.attnImplementation"),
            ("reference", "referenceModel.model.attnImplementation"),
        )
    ),
    *(
        AllowedRule(
            f"hub-kernels-{method}",
            (REMOTE_CODE,),
            f"!{on(f'{method}.modelInitKwargs.use_kernels')}",
            f"{_SEALED}kernels from a hub are refused: remove use_kernels",
            f"{method}.modelInitKwargs",
            "a kernel is compiled code of another repository",
        )
        for method in METHODS
    ),
]

_POD_RULES = [
    AllowedRule(
        "sealed-pod-fields",
        (REMOTE_CODE,),
        when(has("podTemplate.spec"), f"self.podTemplate.spec.all(field, field in {[*SEALED_POD_FIELDS]})"),
        f"{_SEALED}podTemplate.spec may set {', '.join(SEALED_POD_FIELDS)} and nothing else: remove the rest",
        "podTemplate.spec",
        "an init container runs any command; hostAliases, dnsConfig and hostNetwork change who the hub is",
    ),
    AllowedRule(
        "sealed-env",
        (REMOTE_CODE,),
        when(
            _CONTAINERS,
            "self.podTemplate.spec.containers.all(c, !has(c.env) || c.env.all(e, e.name in allowed.env))",
        ),
        f"{_SEALED}only the variables of settings.allowed.env may be set: remove the others",
        "podTemplate.spec.containers",
        "PYTHONPATH, LD_PRELOAD, HF_ENDPOINT, MPLBACKEND, OMP_TOOL_LIBRARIES and more bring code, or say where from",
    ),
    AllowedRule(
        "sealed-env-from",
        (REMOTE_CODE,),
        when(_CONTAINERS, "!self.podTemplate.spec.containers.exists(c, has(c.envFrom))"),
        f"{_SEALED}envFrom, whose variables nobody sees, is refused: name them under env",
        "podTemplate.spec.containers",
        "the ConfigMap may hold PYTHONPATH tomorrow",
    ),
    AllowedRule(
        "sealed-mounts",
        (REMOTE_CODE,),
        when(
            _CONTAINERS,
            "self.podTemplate.spec.containers.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m, "
            f"has(m.mountPath) && m.mountPath.matches('{SEALED_MOUNTS}') && !m.mountPath.contains('..')))",
        ),
        f"{_SEALED}volumes may be mounted below /mnt and /data only: choose another mountPath",
        "podTemplate.spec.containers",
        "a volume over the trainer's code, or over a folder with the name of a listed repository, would be run",
    ),
]

_CHECKPOINT_RULES = [
    AllowedRule(
        "sealed-fsdp",
        (REMOTE_CODE,),
        when(
            has("training.fsdp"),
            f"{has('training.fsdpConfig.state_dict_type')} && "
            "self.training.fsdpConfig.state_dict_type == 'FULL_STATE_DICT'",
        ),
        f"{_SEALED}FSDP may not write sharded checkpoints: set training.fsdpConfig.state_dict_type: FULL_STATE_DICT",
        "training.fsdpConfig",
        "torch unpickles the index of a sharded checkpoint, and a volume may hold one that no run has written",
    ),
    AllowedRule(
        "sealed-deepspeed",
        (REMOTE_CODE,),
        f"!({has('training.deepspeed')})",
        f"{_SEALED}DeepSpeed, which unpickles its checkpoints, is refused: use training.fsdp",
        "training.deepspeed",
        "a volume may hold a checkpoint that no run has written",
    ),
]

REMOTE_CODE_RULES = [*_MODEL_RULES, *_POD_RULES, *_CHECKPOINT_RULES]
