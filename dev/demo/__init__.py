"""The demonstration on real input: `python3 -m dev.demo run`. Standard library only: torch is in the image."""
