"""Asking by the hundred thousand: store, limits, retries, budget, breaker."""
