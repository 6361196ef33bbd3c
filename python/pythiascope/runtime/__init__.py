"""The model, its tokens, sessions and runs, parameters and generation."""
