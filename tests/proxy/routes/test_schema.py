"""The proxy's own routes against their description: requests are made up by schemathesis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from paceline.proxy.access.keys import make
from paceline.proxy.routes.openapi import document
from tests.served import served

KEY, LINE = make("ops")
HEADERS = {"Authorization": f"Bearer {KEY}"}
load_all_checks()
HELD: list[Any] = [
    CHECKS.get_one(name)
    for name in (
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
        "negative_data_rejection",
    )
]
"""What is held against each answer: first, that the document names its status; last, that what is
not as described was refused."""
described = json.loads(document())
(name,) = described["paths"]["/paceline/backends/{name}"]["parameters"]
name["schema"]["enum"] = ["emulated-vllm", "emulated-sglang"]  # or nearly all would be a 404
schema = schemathesis.openapi.from_dict(described)
schema.config.generation.modes = list(GenerationMode)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A proxy with an admin's key, as a process: here, hypothesis watches over randomness."""
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "admins").write_text(LINE)
    file = folder / "paceline.toml"
    file.write_text(f'[admin]\nkeys_file = "{folder}/admins"\nbackend_hosts = ["127.0.0.1"]\n')
    with served("-c", str(file)) as address:
        yield address


@schema.parametrize()
@settings(max_examples=10)
def test_routes_do_as_they_are_described(case: schemathesis.Case[Any], url: str) -> None:
    """No answer that the document does not name, and none of another shape."""
    case.call_and_validate(base_url=url, headers=HEADERS, checks=HELD)
