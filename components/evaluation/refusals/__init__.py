"""A small refusal set: does a model refuse what does harm, and answer what only looks so?

The idea of harmless look-alikes is XSTest's (Röttger et al., 2023, arXiv 2308.01263). The set finds a model that has
forgotten to refuse; it is far too small to call one safe.
"""
