"""The models read what users write, in both directions, and say what TRL says."""

import pytest

from alignment_operator.api import trl
from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.api.openapi import structural
from alignment_operator.api.schema import Section
from alignment_operator.api.spec import Spec
from tests.integration.api.server import manifest
from tests.rule_cases import spec

SECTIONS = [
    trl.Model,
    trl.ReferenceModelConfig,
    trl.Dataset,
    trl.MixtureDataset,
    trl.Mixture,
    trl.Training,
    trl.DPO,
    trl.SFT,
    trl.ORPO,
    trl.CPO,
    trl.KTO,
    trl.Reward,
]
FIELDS = [(section, name) for section in SECTIONS for name in section.model_fields]


def any_value(schema: dict) -> object:
    """Return a value that the field's schema admits."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "array":
        return [any_value(schema["items"])]
    if schema.get("type") == "object":
        return {}
    if schema.get("type") in ("integer", "number"):
        low = schema.get("minimum", 0)
        return low + (schema["maximum"] - low) / 2 if schema["type"] == "number" and "maximum" in schema else low + 1
    return {"boolean": True, "string": "text"}.get(schema.get("type", ""), 8)


@pytest.mark.parametrize(("section", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_a_field_is_read_by_its_camel_name_and_written_by_its_trl_name(section: type[Section], name: str) -> None:
    camel = trl.CAMEL[name]
    assert trl.SNAKE[camel] == name
    value = any_value(structural(section)["properties"][camel])
    by_camel, by_snake = section.model_validate({camel: value}), section.model_validate({name: value})
    assert by_camel == by_snake
    assert by_camel.written() == {name: value}
    assert by_camel.model_dump(by_alias=True, exclude_unset=True) == {camel: value}


def test_camel_and_snake_are_inverse_of_each_other() -> None:
    assert {trl.SNAKE[camel]: camel for camel in trl.SNAKE} == trl.CAMEL
    assert {name for _, name in FIELDS} == set(trl.CAMEL)


def test_what_the_operator_owns_has_no_field() -> None:
    everywhere = {name for _, name in FIELDS}
    assert not everywhere & set(trl.OPERATOR_OWNED)
    assert "trust_remote_code" not in everywhere


def test_unset_fields_stay_unset() -> None:
    job = AlignmentJob.model_validate(manifest(spec({"dpo": {"beta": 1}})))
    assert job.spec.method_config.written() == {"beta": 1}
    assert job.spec.model.written() == {"model_name_or_path": "tiny"}


@pytest.mark.parametrize(("written", "read"), [(10, 10), (0.5, 0.5), (1e-6, 1e-6)])
def test_a_number_keeps_its_kind(written: float, read: float) -> None:
    value = trl.Training.model_validate({"loggingSteps": written}).logging_steps
    assert value == read
    assert type(value) is type(read)


def test_unknown_fields_of_a_newer_version_are_no_error() -> None:
    job = AlignmentJob.model_validate({**manifest(spec({"dpo": {"future": 1}})), "more": 1})
    assert job.spec.method == "dpo"


def test_every_string_list_and_map_of_the_spec_has_a_bound() -> None:
    """Without bounds, the API server charges a rule for the largest value that fits into a request."""
    unbounded = list(find_unbounded(structural(Spec), "spec"))
    assert unbounded == []


def find_unbounded(schema: dict, path: str):
    kind = schema.get("type")
    if kind == "string" and not {"maxLength", "enum"} & set(schema):
        yield path
    if kind == "array" and "maxItems" not in schema:
        yield path
    if "additionalProperties" in schema and "maxProperties" not in schema:
        yield path
    for key, part in schema.get("properties", {}).items():
        yield from find_unbounded(part, f"{path}.{key}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from find_unbounded(schema[key], f"{path}[]")


def test_every_field_of_the_spec_is_described() -> None:
    def undescribed(schema: dict, path: str):
        for key, part in schema.get("properties", {}).items():
            if not part.get("description"):
                yield f"{path}.{key}"
            yield from undescribed(part.get("items", part), f"{path}.{key}")

    assert list(undescribed(structural(Spec), "spec")) == []
