"""Measurements for the scripts of this folder; they read held-out pairs or the ground truth and never feed back."""
