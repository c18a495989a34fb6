"""True peaks for the oracle; test_evaluate.py tests the complete oracles."""

import numpy as np
import torch

from tagwise.evaluation.pose_oracles import true_peaks


def test_true_peaks_are_the_labelled_keypoints_with_their_tags():
    rng = np.random.default_rng(0)
    N, K, D, H, W = 5, 4, 2, 12, 9
    truth = np.concatenate(
        [rng.uniform(0, (W - 1, H - 1), (N, K, 2)), rng.integers(0, 3, (N, K, 1))], axis=2
    )
    truth[0, 0] = (-3, 5, 2)
    truth[1, 0] = (W - 0.4, 5, 2)
    tags = torch.from_numpy(rng.normal(size=(K * D, H, W)).astype(np.float32))
    peaks = true_peaks(truth, tags)
    expected = []
    for k in range(K):
        for n in range(N):
            x, y, visible = truth[n, k]
            column, row = round(x), round(y)
            if visible and 0 <= column < W and 0 <= row < H:
                tag = [tags[k * D + d, row, column].item() for d in range(D)]
                expected.append((k, row, column, x, y, *tag))
    found = np.c_[peaks.types, peaks.cells[:, ::-1], peaks.xy, peaks.tags]
    assert len(expected) > 8
    np.testing.assert_allclose(found, sorted(expected), atol=1e-5)
    assert (peaks.scores == 1).all()
    assert peaks.starts.shape == (1, K + 1)


def test_image_without_labels_gives_no_peaks():
    peaks = true_peaks(np.zeros((0, 3, 3)), torch.zeros(6, 4, 4))
    assert len(peaks) == 0
    assert peaks.tags.shape == (0, 2)
