"""Instruments that make many runs of their own: weights, words, forms, treebank, probe."""
