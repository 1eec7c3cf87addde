"""What a language model is asked to write, and how its words are read."""
