"""Made-up maps of crowds with known truth: what a network would say of people and of boxes.

Everything follows from a seed. Peaks differ in height, objects overlap, tags scatter, and peaks
of nobody lie between them.
"""
