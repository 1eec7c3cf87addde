"""hardneg."""
