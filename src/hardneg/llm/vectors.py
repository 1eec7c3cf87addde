"""Embeddings as replies: float32 numbers in base64 text, so that store, limits and budget apply to them as well."""

from __future__ import annotations

import base64
import binascii

import numpy as np

from hardneg.llm.protocol import Message, Request
from hardneg.types import Floats


def embedding_request(text: str) -> Request:
    """Return the request for the embedding of a text."""
    return Request((Message("user", text),), max_tokens=0)


def embedded_text(request: Request) -> str:
    """Return the text of an embedding request."""
    return request.messages[-1].content


def pack_vector(vector: Floats) -> str:
    """Encode a vector's little-endian float32 bytes in base64. Raises ValueError if it is empty or not finite."""
    with np.errstate(over="ignore"):  # overflow is refused below
        numbers = np.asarray(vector, "<f4")
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError("not a vector of finite numbers")
    return base64.b64encode(numbers.tobytes()).decode("ascii")


def unpack_vector(text: str) -> Floats:
    """Decode the vector of a reply. Raises ValueError if there is none."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if not data or len(data) % 4:
        raise ValueError(f"{len(data)} bytes, expected float32 numbers of 4 bytes")
    return np.frombuffer(data, "<f4")
