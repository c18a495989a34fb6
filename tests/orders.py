"""The order in which published code groups the keypoint types of COCO."""

# The order in which the published decoders match COCO's keypoint types.
ORDER = [0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16]
