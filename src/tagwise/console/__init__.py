"""Interaction with the terminal: arguments, requests to stop, and the standard streams.

Imports nothing but the public names of the package.
"""
