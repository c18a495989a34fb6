"""Many images: lists of them are cut into shards, which processes or Ray actors predict.

A shard is a number of images whose results are two whole files and a record with their checksums.
A shard that is computed twice gives the same files, so whatever is killed, each image has one row.

Imports `console`, `data`, `errors`, `files`, `labels`, `prediction`, `results`, `runtime` and
`tasks`.
"""

from tagwise.scale.dataset import predict_dataset

__all__ = ["predict_dataset"]
