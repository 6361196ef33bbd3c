"""Plugins and accumulators that are written in Python."""
