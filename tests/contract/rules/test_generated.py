"""The fields of the API are those of the pinned TRL. (`make verify` compares the generated files with it.)"""

import dataclasses

from alignment_operator.api import trl as api
from dev.generate import bounds, trl_models


def test_every_field_of_trl_is_in_the_api_or_has_an_owner() -> None:
    decided = {*bounds.OPERATOR_OWNED, *bounds.NOT_WRITABLE, *bounds.ON_MODEL}
    training = set(api.Training.model_fields)
    for name, config in trl_models.SECTIONS.items():
        section = set(getattr(api, name).model_fields)
        fields = {field.name for field in dataclasses.fields(config)}
        assert fields - section - decided - training == set(), name
        assert section <= fields


def test_every_bound_and_choice_belongs_to_a_field() -> None:
    fields = {field.name for config in trl_models.SECTIONS.values() for field in dataclasses.fields(config)}
    named = {*bounds.BOUNDS, *bounds.TYPES, *bounds.NOTES, *bounds.NULL_HAS_A_MEANING, *bounds.OPERATOR_OWNED}
    assert named - fields == set()
    assert {name.rsplit(".", 1)[-1] for name in bounds.CHOICES} - fields == set()


def test_trl_defaults_lie_within_the_bounds() -> None:
    for name, config in trl_models.SECTIONS.items():
        for field in trl_models.own_fields(config):
            value = field.default
            if (
                field.name in bounds.TYPES
                or value is dataclasses.MISSING
                or value is None
                or field.name == "warmup_steps"
            ):
                continue
            getattr(api, name).model_validate({field.name: value})
