"""Batch calls to a language model: queue, admission, worker and store."""
