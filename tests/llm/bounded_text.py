"""A string type for reply formats in tests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hardneg.llm.structured import safe_pattern

ShortText = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra={"pattern": safe_pattern(200)})]
"""1 to 200 characters."""
