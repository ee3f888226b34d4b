"""Quantization: the fine-tuned model in 4 bits with AWQ, and how faithful it stayed."""
