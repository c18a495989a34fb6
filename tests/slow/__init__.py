"""The algorithms of the published code in plain loops: slow, simple and independent of src.

Tests compare the package with these references where the stored numbers of the published code
are not at hand; `tests/shared_data/test_references.py` compares the references with those numbers.
"""
