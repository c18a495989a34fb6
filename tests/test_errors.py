from tagwise.errors import UserError, unknown_name


def test_errors_are_one_line():
    assert str(UserError("no file a\nb\r\nc")) == "no file a b c"
    assert str(UserError()) == ""


def test_long_names_are_cut():
    text = str(unknown_name("setting", "x" * 5000, ["y" * 5000, "z"]))
    assert text.startswith("unknown setting 'xxx")
    assert len(text) < 1100
