"""How fast scoring is next to lm-evaluation-harness: see README.md."""
