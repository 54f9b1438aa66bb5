"""What Azure Pipelines makes of azure-pipelines.yml, as far as templates and their parameters go."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.support.repository import REPOSITORY

PIPELINE = "azure-pipelines.yml"
Document = dict[str, Any]


def read(name: str) -> Document:
    """Read a file as Azure Pipelines does, to which every scalar is a string."""
    document: Document = yaml.load((REPOSITORY / name).read_text(), yaml.BaseLoader)  # noqa: S506 - makes nothing but strings
    return document


def jobs(stage: str, **parameters: str) -> list[Document]:
    """The jobs of a stage, their templates expanded; `parameters` are the pipeline's."""
    pipeline = expanded(read(PIPELINE), parameters)
    (found,) = [one for one in pipeline["stages"] if one["stage"] == stage]
    return list(found["jobs"])


def steps(job: Document) -> list[Document]:
    """The steps of a job, or of a deployment job."""
    found = job["strategy"]["runOnce"]["deploy"]["steps"] if "deployment" in job else job["steps"]
    return [step for one in found for step in (_of_template(one) if "template" in one else [one])]


def _of_template(use: Document) -> list[Document]:
    template = read(use["template"])
    declared = {one["name"]: one for one in template.get("parameters", ())}
    given = use.get("parameters", {})
    assert set(given) <= set(declared), "Azure Pipelines refuses a parameter that the template does not have"
    # One without a default has to be given, too.
    values = {name: given[name] if name in given else one["default"] for name, one in declared.items()}
    return list(expanded(template, values)["steps"])


def expanded(part: Any, parameters: dict[str, str]) -> Any:
    """The same with `${{ parameters.x }}` filled in, where x is known, and `if eq(parameters.x, '…')` decided."""
    if isinstance(part, dict):
        result: Document = {}
        for key, value in part.items():
            if condition := re.fullmatch(r"\$\{\{ if eq\(parameters\.(\w+), '(.*)'\) \}\}", key):
                result |= expanded(value, parameters) if parameters[condition[1]] == condition[2] else {}
            else:
                result[key] = expanded(value, parameters)
        return result
    if isinstance(part, list):
        return [expanded(value, parameters) for value in part]
    return re.sub(r"\$\{\{ parameters\.(\w+) \}\}", lambda found: parameters.get(found[1], found[0]), part)
