"""What the published code does, told in plain loops: slow, obvious, and sharing no line with src.

Tests compare the package with these references where the stored numbers of the published code
are not at hand; `tests/parity/test_references.py` compares the references with those numbers.
"""
