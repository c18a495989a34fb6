"""Interaction with the terminal: requests to stop, and the standard streams.

Imports nothing of the package.
"""
