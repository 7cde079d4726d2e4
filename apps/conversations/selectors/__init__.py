"""Answers about conversations: the shape of the tree, public descriptions, the state of runs."""
