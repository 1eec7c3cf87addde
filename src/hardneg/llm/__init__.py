"""Language models: one protocol, adapters, the store, limits and the budget."""
