"""Runs over documents: reading, states, shards, merging."""
