"""Mistral: Llama with a sliding window of attention (version 0.1; later ones see the whole sequence)."""
