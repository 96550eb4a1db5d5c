"""The building blocks of every model under `api/`: how a field of the API is declared.

The CRD's OpenAPI schema is made from these models (`crd.py`), so a bound written here is enforced by the API server;
the same models read objects from the API server, leniently: an unknown field is no error.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

# JSON has one kind of number. Reading keeps what was written: 10 stays an int, 0.5 a float.
Number = int | float
# `128` or `auto`: the one union that a structural schema has a word for.
IntOrString = Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True})]


class Section(BaseModel):
    """One object of the API: attributes in snake_case, keys in camelCase (explicit aliases), both accepted as input."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore", protected_namespaces=())

    def written(self) -> dict[str, Any]:
        """Return what the user wrote, by attribute name (snake_case): no field that is unset or null."""
        return self.model_dump(exclude_none=True, exclude_unset=True)


# Every string has a bound: without one, a CEL rule that reads it is charged for three megabytes.
Short = Annotated[str, Field(max_length=63)]
Name = Annotated[str, Field(min_length=1, max_length=253)]
Text = Annotated[str, Field(max_length=1024)]
# A host path, a hub name, a revision: whatever `from_pretrained` or `load_dataset` takes.
Path = Annotated[str, Field(min_length=1, max_length=1024)]
