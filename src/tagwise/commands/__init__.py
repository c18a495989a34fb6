"""One module for each verb of the command line; each holds the Python function of the same name.

Imports everything except `cli`.
"""
