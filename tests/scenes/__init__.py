"""Synthetic maps of crowds with known truth, as a network would predict them for people and boxes.

Everything follows from a seed. Peaks differ in height, objects overlap, tags scatter, and peaks
of nobody lie between them.
"""
