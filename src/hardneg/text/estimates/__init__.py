"""What writing will take, from the real prompts."""
