"""Fitting the settings of a decoder, and the threshold of its scores, to labelled images.

Imports `errors`, `grouping` and `settings`.
"""
