"""Hooks and caches under TransformerLens's names, and what is computed from a cache."""
