"""Dockerfiles are read as Docker's builder reads them: https://docs.docker.com/reference/dockerfile."""

from __future__ import annotations

import pytest

from rehearsal_cloud.kubernetes.images.dockerfile import instructions, words

DOCKERFILE = r"""
# a comment
ARG BASE=docker.io/apache/airflow:3.3.2
from ${BASE}

RUN pip install --no-cache-dir \
    # a comment between continued lines
    "apache-airflow==${AIRFLOW_VERSION}" \

    --requirement /requirements.txt
LABEL a="1" \
      b=2
"""


def test_instructions_are_read_over_continued_lines() -> None:
    assert [(one.name, one.arguments) for one in instructions(DOCKERFILE)] == [
        ("ARG", "BASE=docker.io/apache/airflow:3.3.2"),
        ("FROM", "${BASE}"),
        ("RUN", 'pip install --no-cache-dir "apache-airflow==${AIRFLOW_VERSION}" --requirement /requirements.txt'),
        ("LABEL", 'a="1" b=2'),
    ]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("requirements.txt  /place/", ["requirements.txt", "/place/"]),
        ("airflow==${VERSION}", ["airflow==3.3.2"]),
        ('"airflow==$VERSION"', ["airflow==3.3.2"]),
        ("'airflow==${VERSION}'", ["airflow==${VERSION}"]),
        ("${MISSING:-else} ${VERSION:-else}", ["else", "3.3.2"]),
        ("${MISSING}", [""]),
        ('a="two words" b=\'[{"name": "c"}]\'', ["a=two words", 'b=[{"name": "c"}]']),
        (r"a\ b \$VERSION", ["a b", "$VERSION"]),
        (r'"say \"so\""', ['say "so"']),
        ('""', [""]),
        ("100$ $", ["100$", "$"]),
    ],
)
def test_words_lose_their_quotes_and_get_their_variables(line: str, found: list[str]) -> None:
    assert words(line, {"VERSION": "3.3.2"}) == found
