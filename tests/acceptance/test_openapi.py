"""The OpenAPI document and the running daemon say the same: schemathesis asks every operation, with sense and without."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING

from tests.kit.rule import PLAIN_RULES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.house import EnterBooth

READ, WRITE = "read-token-1234567", "write-token-1234567"
CATALOGUE = """
services:
  checkout:
    mitigations:
      nothing: {summary: Do nothing, run: ["true"]}
"""
# No schema says that an end lies ahead or that matchers parse, nor which cursors were given: there a refusal is right.
# What needs an incident is asked of the one that is there; reading is asked of any.
CONFIGURATION = """
[[operations]]
include-name = "POST /api/v1/silences"
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]

[[operations]]
include-name = "GET /api/v1/incidents"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]

[[operations]]
include-path-regex = "/(acknowledge|note|cause|update|tick|mitigate|resolve|deliveries|postmortem)"
parameters = {{ "path.incident" = "{incident}" }}
"""
CASES_EACH = 4
SECONDS = 240.0


async def test_the_document_is_true(enter_booth: EnterBooth, tmp_path: Path) -> None:
    """Statuses, content types, headers, schemas, tokens: every answer of every operation is one that the document names."""
    booth = await enter_booth(rules={"errors": PLAIN_RULES, "catalogue": CATALOGUE}, read_token=READ, write_token=WRITE)
    booth.daemon.token = WRITE
    booth.show(checkout=0.5, search=0.3)
    await booth.daemon.start()
    incident = await booth.daemon.wait_incident("checkout")
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION.format(incident=incident["id"]))
    document = await booth.daemon.get("/api/openapi.json")
    count = sum(len(operations) for operations in document["paths"].values())
    code, told = await _run_schemathesis(booth.daemon.port, tmp_path)
    assert code == 0, told
    assert re.search(rf"Selected: {count}/{count}\n +Tested: {count}\n", told), told
    assert "Traceback" not in booth.daemon.read()


async def _run_schemathesis(port: int, folder: Path) -> tuple[int, str]:
    """Its exit code and what it said. The seed is left to chance and is printed."""
    words = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/api/openapi.json", "--no-color"]
    words += ["--header", f"Authorization: Bearer {WRITE}", "--max-examples", str(CASES_EACH), "--generation-database", "none"]
    words += ["--phases", "examples,coverage,fuzzing", "--no-shrink", "--request-timeout", "90"]
    process = await asyncio.create_subprocess_exec(
        *words, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(SECONDS):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, told.decode()
