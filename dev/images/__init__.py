"""Builds the two images and pushes them to the local registry: `python3 -m dev.images push`. Standard library only."""
