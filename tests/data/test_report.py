from tagwise.data.report import Problem, summary


def test_summary_without_problems_says_so():
    assert summary([]) == "no problems in the data"


def test_summary_counts_each_kind_and_lists_the_first_problems():
    missing = [Problem("file is missing", f"{i}.jpg", i) for i in range(5)]
    odd = [Problem("keypoint outside the image", "a.jpg", 9, 31, "types [2] at [[-4.0, 7.0]]")]
    lines = summary(odd + missing, examples=2).splitlines()
    assert lines == [
        "6 problems in the data:",
        "  5 × file is missing",
        "      0.jpg, image 0",
        "      1.jpg, image 1",
        "      and 3 more",
        "  1 × keypoint outside the image",
        "      a.jpg, image 9, annotation 31: types [2] at [[-4.0, 7.0]]",
    ]
