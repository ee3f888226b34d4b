"""How fast the training engine is next to a plain Hugging Face loop."""
