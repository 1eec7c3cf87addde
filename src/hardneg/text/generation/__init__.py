"""Generation of profiles and hard negatives with a language model: prompts, requests and reply parsers."""
