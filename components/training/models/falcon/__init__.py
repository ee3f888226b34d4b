"""Falcon 7B, 11B, 40B and 180B: attention and MLP side by side, few key/value heads, layer norms."""
