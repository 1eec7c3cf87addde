"""Stages of the text room: profiles."""

from __future__ import annotations

from pathlib import Path

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.text import extract_profiles, profiles


def profile(split_folder: Path, out: Path) -> profiles.Profiles:
    """Write extractive item and user profiles from what a split may be learnt from."""
    inputs = {"learnt from": splits.learnt_from_hash(split_folder)}
    settings = {"method": profiles.SOURCE}
    if not artifacts.finished(out, artifacts.key_of(profiles.KIND, settings, inputs)):
        data = splits.read(split_folder)
        profiles.write(out, extract_profiles(data), data, config=settings, inputs=inputs)
    return profiles.read(out)
