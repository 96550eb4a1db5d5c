"""The allow-lists of the operator's settings as rules: one text for the chart's admission policy and for the operator.

`self` is the spec, `allowed` what the settings allow (`allowlists.variables`). A rule counts only where one of the
lists that it `needs` is set.
"""

from __future__ import annotations

from alignment_operator.api.rules.remote_code import REMOTE_CODE_RULES
from alignment_operator.api.rules.rule import IMAGES, MAX_GPUS, REMOTE_CODE, SERVICE_ACCOUNTS, AllowedRule, has, when

__all__ = ["ALLOWED_RULES", "AllowedRule"]

_INIT = has("podTemplate.spec.initContainers")


def _plain(names: str) -> str:
    """CEL: none of the keys is an extended resource, which has a slash (nvidia.com/gpu); hugepages-2Mi has none."""
    return f"{names}.all(resource, !resource.contains('/'))"


def _counts_none(where: str) -> str:
    """CEL: neither requests nor limits of a `resources` that is there have an extended resource."""
    return " && ".join(f"(!has({where}.{part}) || {_plain(f'{where}.{part}')})" for part in ("requests", "limits"))


IMAGE_RULES = [
    AllowedRule(
        "image",
        (IMAGES, REMOTE_CODE),
        when(has("image"), "self.image in allowed.images"),
        "set one of settings.allowed.images (REPOSITORY@sha256:DIGEST), or remove image for the operator's own",
        "image",
        "an image of one's own runs any code",
    ),
    AllowedRule(
        "init-container-image",
        (IMAGES,),
        when(_INIT, "self.podTemplate.spec.initContainers.all(c, has(c.image) && c.image in allowed.images)"),
        "set one of settings.allowed.images (REPOSITORY@sha256:DIGEST) as image of every init container",
        "podTemplate.spec.initContainers",
        "an init container is an image too",
    ),
    AllowedRule(
        "image-volume",
        (IMAGES,),
        when(
            has("podTemplate.spec.volumes"),
            "self.podTemplate.spec.volumes.all(v, !has(v.image) || "
            "(has(v.image.reference) && v.image.reference in allowed.images))",
        ),
        "set one of settings.allowed.images (REPOSITORY@sha256:DIGEST) as reference of every image volume",
        "podTemplate.spec.volumes",
        "an image can be mounted as a volume",
    ),
]

_ACCOUNTS = "settings.allowed.service_accounts"
ACCOUNT_RULES = [
    AllowedRule(
        f"service-account-{field}",
        (SERVICE_ACCOUNTS,),
        when(has(f"podTemplate.spec.{field}"), f"self.podTemplate.spec.{field} in allowed.serviceAccounts"),
        f"set one of {_ACCOUNTS}, or remove it for the namespace's default",
        f"podTemplate.spec.{field}",
        "the account of another program brings its rights, and a cloud's with them",
    )
    for field in ("serviceAccountName", "serviceAccount")
]

_COUNTED = "GPUs are limited (settings.allowed.max_gpus) and counted by nodes x gpusPerNode: "
GPU_RULES = [
    AllowedRule(
        "max-gpus",
        (MAX_GPUS,),
        "self.nodes * self.gpusPerNode <= allowed.maxGpus",
        "nodes x gpusPerNode is more than settings.allowed.max_gpus: lower one of them",
        "gpusPerNode",
        "",
    ),
    AllowedRule(
        "gpus-in-resources",
        (MAX_GPUS,),
        when(has("resources"), _counts_none("self.resources")),
        f"{_COUNTED}remove extended resources here, or name them with gpuResource",
        "resources",
        "another vendor's GPU, or a part of one (nvidia.com/mig-1g.5gb), would not be counted",
    ),
    AllowedRule(
        "gpus-in-pod-resources",
        (MAX_GPUS,),
        when(has("podTemplate.spec.resources"), _counts_none("self.podTemplate.spec.resources")),
        f"{_COUNTED}remove extended resources here",
        "podTemplate.spec.resources",
        "resources of the whole pod would not be counted",
    ),
    AllowedRule(
        "gpus-in-init-containers",
        (MAX_GPUS,),
        when(
            _INIT,
            f"self.podTemplate.spec.initContainers.all(c, !has(c.resources) || ({_counts_none('c.resources')}))",
        ),
        f"{_COUNTED}remove extended resources from init containers",
        "podTemplate.spec.initContainers",
        "a sidecar holds its GPUs as long as the pod lives",
    ),
    AllowedRule(
        "gpus-by-claim",
        (MAX_GPUS,),
        f"!({has('podTemplate.spec.resourceClaims')})",
        f"{_COUNTED}remove resourceClaims, which may stand for any number of them",
        "podTemplate.spec.resourceClaims",
        "dynamic resource allocation counts elsewhere",
    ),
]

ALLOWED_RULES: list[AllowedRule] = [*REMOTE_CODE_RULES, *IMAGE_RULES, *ACCOUNT_RULES, *GPU_RULES]
