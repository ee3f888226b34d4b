"""Llama (versions 1 to 3, CodeLlama): RMSNorm, rotary positions, grouped-query attention, SwiGLU."""
