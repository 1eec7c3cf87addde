"""Models of OpenAI-compatible servers."""
