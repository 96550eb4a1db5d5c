"""JSON Schemas for kubeconform, made from what a real API server says about its own objects (`/openapi/v2`).

Strict, as `kubectl --validate=strict` is: an unknown field is an error.
"""

import json
from pathlib import Path
from typing import Any

DEFINITIONS = "_definitions.json"
# Where kubeconform finds the schema of an object below the folder that `write` fills.
LOCATION = "{{ .ResourceKind }}_{{ .Group }}_{{ .ResourceAPIVersion }}.json"

Schema = dict[str, Any]


def write(openapi: Schema, folder: Path) -> None:
    """One file for each kind, all referring to one file of definitions."""
    definitions = {name: _strict(schema) for name, schema in openapi["definitions"].items()}
    definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = {"type": ["string", "integer"]}
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}
    (folder / DEFINITIONS).write_text(json.dumps({"definitions": definitions}).replace("#/", f"{DEFINITIONS}#/"))
    for name, schema in openapi["definitions"].items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            # kubeconform has no group for the core API, and puts its version there.
            group = kind["group"] or kind["version"]
            file = folder / f"{kind['kind'].lower()}_{group}_{kind['version']}.json"
            file.write_text(json.dumps({"$ref": f"{DEFINITIONS}#/definitions/{name}"}))


def _strict(schema: Any) -> Any:
    """The same schema, with every object that lists its properties closed."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        open_ended = schema.get("x-kubernetes-preserve-unknown-fields")
        return inner if open_ended else inner | {"additionalProperties": False}
    return inner
