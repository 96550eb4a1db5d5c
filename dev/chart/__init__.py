"""Generators for the Helm chart."""
