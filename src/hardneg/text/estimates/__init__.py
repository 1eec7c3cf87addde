"""Cost estimates for the generation of profiles and negatives, from the real prompts."""
