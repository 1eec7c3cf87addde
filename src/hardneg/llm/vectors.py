"""Vectors as replies: float32 numbers in base64, so that store, limits and budget treat them as they treat words."""

from __future__ import annotations

import base64
import binascii

import numpy as np

from hardneg.llm.protocol import Message, Request
from hardneg.types import Floats


def embedding_request(text: str) -> Request:
    """What is asked of an embedding model: the text, and no answer in words."""
    return Request((Message("user", text),), max_tokens=0)


def embedded_text(request: Request) -> str:
    """The text that is to become a vector."""
    return request.messages[-1].content


def pack_vector(vector: Floats) -> str:
    """A vector's little-endian float32 bytes in base64. Raises ValueError for an empty one and for NaN or infinity."""
    with np.errstate(over="ignore"):  # what overflows is refused below
        numbers = np.asarray(vector, "<f4")
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError("no vector of finite numbers")
    return base64.b64encode(numbers.tobytes()).decode("ascii")


def unpack_vector(text: str) -> Floats:
    """The vector in a reply. Raises ValueError where there is none."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None
    if not data or len(data) % 4:
        raise ValueError(f"{len(data)} bytes, expected float32 numbers of 4 bytes")
    return np.frombuffer(data, "<f4")
