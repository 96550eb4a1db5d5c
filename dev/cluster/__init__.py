"""A real Kubernetes on this one machine, from source: `python3 -m dev.cluster up`.

Standard library only, so that it runs before any environment exists.
"""
