"""Language models: one protocol, adapters, and an engine with store, limits and budget."""
