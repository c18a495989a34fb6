"""Interaction with the terminal: arguments, requests to stop, and the standard streams.

Imports nothing of the package.
"""
