"""Reading, checking, overriding and writing recipes."""

from dataclasses import replace
from pathlib import Path

import pytest

from tagwise.errors import UserError
from tagwise.training.recipe import gather_overrides, load_recipe, save_recipe

MINIMAL = """
data:
  train:
    - {annotations: a.json, images: photos}
"""


@pytest.fixture
def recipe_file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return write


def test_defaults_fill_what_a_recipe_leaves_out(recipe_file):
    recipe = load_recipe(recipe_file(MINIMAL))
    assert recipe.task == "pose"
    assert recipe.data.train[0].annotations == "a.json"
    assert recipe.data.train[0].weight == 1.0
    assert recipe.data.val is None


def test_saved_recipe_loads_unchanged(recipe_file, tmp_path):
    recipe = load_recipe(recipe_file(MINIMAL), ["optim.lr=1e-3", "sigmas=[0.1, 0.2]"])
    save_recipe(recipe, tmp_path / "resolved.yaml")
    assert load_recipe(tmp_path / "resolved.yaml") == recipe


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("optim.lr=1e-3", 1e-3),  # YAML 1.1 itself reads this as text
        ("optim.lr=1.5E3", 1500.0),
        ("optim.lr=.5e-1", 0.05),
        ("optim.lr=0.5", 0.5),
        ("optim.lr=2.5E+1", 25.0),
        ("optim.lr=1", 1.0),
        ("optim.steps=1e3", 1000),
        ("optim.clip=.inf", float("inf")),
        ("task_options.position=1e1", 10.0),
        ("info.note=1e-3 or so", "1e-3 or so"),
    ],
)
def test_overrides_become_the_type_of_their_field(recipe_file, override, value):
    recipe = load_recipe(recipe_file(MINIMAL), [override])
    section, key = override.partition("=")[0].split(".")
    found = getattr(recipe, section)
    found = found[key] if isinstance(found, dict) else getattr(found, key)
    assert found == value
    assert type(found) is type(value)


def test_overrides_reach_into_lists_and_missing_sections(recipe_file):
    overrides = ["data.train.0.weight=2", "data.augment.scale=[0.5, 2]", "model.pretrained=null"]
    recipe = load_recipe(recipe_file(MINIMAL), overrides)
    assert recipe.data.train[0].weight == 2.0
    assert recipe.data.augment.scale == (0.5, 2.0)
    assert recipe.model.pretrained is None


def test_pairs_are_names_or_numbers(recipe_file):
    path = recipe_file(MINIMAL + "  flip_pairs: [[ear A, ear B], [3, 4]]\n")
    assert load_recipe(path).data.flip_pairs == (("ear A", "ear B"), (3, 4))
    assert load_recipe(recipe_file(MINIMAL)).data.flip_pairs is None
    assert load_recipe(path, ["data.flip_pairs=[]"]).data.flip_pairs == ()
    with pytest.raises(UserError, match=r"flip_pairs\[0\] is \[1, 2, 3\]; use a list of 2"):
        load_recipe(path, ["data.flip_pairs=[[1, 2, 3]]"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimm: {}\n" + MINIMAL, "did you mean 'optim'"),
        (MINIMAL + "  input_sise: [1, 2]\n", "did you mean 'input_size'"),
        (MINIMAL + "  augment: {rotat: 3}\n", "did you mean 'rotate'"),
        (MINIMAL + "optim: {steps: many}\n", "optim: steps is 'many'; use a whole number"),
        (
            MINIMAL + "optim: {steps: 1.5}\n",
            "steps is 1.5; use a whole number from 1 to",
        ),
        (MINIMAL + "optim: {steps: 0}\n", "steps is 0; use a whole number from 1 to"),
        (MINIMAL + "optim: {ema: 1}\n", "ema is 1; use a number of at least 0 and below 1"),
        (MINIMAL + "optim: {clip: 0}\n", "clip is 0; use a number above 0, or infinity"),
        (MINIMAL + "optim: {lr: .nan}\n", "lr is nan; use a number above 0"),
        (MINIMAL + "optim: {drops: [0.5, 2]}\n", "drops[1] is 2; use a number from 0 to 1"),
        (MINIMAL + "run: {tensorboard: 1}\n", "tensorboard is 1; use true or false"),
        (
            MINIMAL + "run: {precision: bf15}\n",
            "run: unknown precision 'bf15'; did you mean 'bf16'",
        ),
        (MINIMAL + "run: {device: gpu}\n", "run: unknown device 'gpu'"),
        (MINIMAL + "  input_size: [1]\n", "data: input_size is [1]; use a list of 2 values"),
        (
            MINIMAL + "  input_size: [0, 32]\n",
            "input_size[0] is 0; use a whole number from 1 to 16384",
        ),
        (MINIMAL + "  workers: -1\n", "workers is -1; use a whole number from 0 to"),
        (MINIMAL + "  augment: {flip: 2}\n", "data: augment: flip is 2; use a number from 0 to 1"),
        (MINIMAL + "    - {images: b}\n", "data: train[1]: the setting 'annotations' is missing"),
        ("data: {train: []}\n", "data: train is empty; name at least one set"),
        (MINIMAL + "sigmas: [0.1, 0]\n", "sigmas is [0.1, 0]; use a number above 0 or a list"),
        ("task: pose\n", "the setting 'data' is missing"),
        ("- a\n- b\n", "is not a recipe"),
        ("a: [b\n", "is not valid YAML"),
    ],
)
def test_errors_name_the_file_the_key_and_the_fix(recipe_file, text, message):
    path = recipe_file(text)
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


DAMAGED = [
    b"\xff\xfe\x00",
    b"\0" * 500,
    b"a: 2020-13-45",
    b"[" * 5000,
    b"a: !!timestamp x",
    b"\x8a",
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_recipe_gives_a_one_line_error(tmp_path, content):
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"recipe\.yaml is no") as caught:
        load_recipe(tmp_path / "recipe.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lr=[1", "is not valid YAML"),
        ("optim.lr", "write key.sub=value"),
        ("optim.lrr=1", "did you mean 'lr'"),
        ("task.name=1", "holds a single value"),
        ("data.train.7.weight=1", "no item '7' in a list of 1"),
    ],
)
def test_invalid_overrides_say_what_to_write(recipe_file, override, message):
    with pytest.raises(UserError, match=message):
        load_recipe(recipe_file("task: pose\n" + MINIMAL), [override])


def test_missing_recipe_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[2].glob("recipes/**/*.yaml")), ids=str
)
def test_every_recipe_that_ships_is_the_same_after_saving(path, tmp_path):
    recipe = load_recipe(path)
    save_recipe(recipe, tmp_path / "resolved.yaml")
    assert load_recipe(tmp_path / "resolved.yaml") == recipe


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "r.yaml"], ["train", "r.yaml"]),
        (["train", "r.yaml", "--a.b", "-1"], ["train", "r.yaml", "--set", "a.b=-1"]),
        (["train", "--a.b-c=d=e", "r.yaml"], ["train", "r.yaml", "--set", "a.b_c=d=e"]),
        (
            ["train", "r.yaml", "--a.b", "--resume"],
            ["train", "r.yaml", "--resume", "--set", "a.b=true"],
        ),
        (["train", "./r.yaml", "--out", "a.b"], ["train", "./r.yaml", "--out", "a.b"]),
    ],
)
def test_gather_overrides(arguments, expected):
    assert gather_overrides(arguments) == expected


TUNED = """
data: {train: [{annotations: a.json, images: a}]}
task_options: {tag_dim: 2, grouping: {tag_threshold: 2}}
decoder: {threshold: 0.5}
info: {author: me}
tuned:
  annotations: a.json
  sigmas: 0.4
  task_options: {grouping: {tag_threshold: 3, top_k: 9}}
  decoder: {threshold: 0.3, size: 320}
  info: {data: robots}
"""


def test_tuned_values_fill_in_what_the_recipe_leaves_out(recipe_file):
    recipe = load_recipe(recipe_file(TUNED))
    assert recipe.notes() == []
    whole = recipe.complete()
    assert whole.sigmas == 0.4
    assert whole.task_options == {"tag_dim": 2, "grouping": {"tag_threshold": 2, "top_k": 9}}
    assert whole.decoder == {"threshold": 0.5, "size": 320}
    assert whole.info == {"author": "me", "data": "robots"}
    assert whole.tuned is None
    assert whole.complete() == whole


def test_stated_sigmas_take_precedence_over_tuned_sigmas(recipe_file):
    assert load_recipe(recipe_file(TUNED), ["sigmas=0.2"]).complete().sigmas == 0.2


def test_tuned_values_are_not_used_for_other_data(recipe_file):
    recipe = load_recipe(recipe_file(TUNED), ["data.train=[{annotations: b.json, images: b}]"])
    (note,) = recipe.notes()
    assert "tuned (sigmas, task_options, decoder, info) was chosen for a.json" in note
    assert "not used for b.json" in note
    whole = recipe.complete()
    assert (whole.sigmas, whole.decoder, whole.info) == (None, {"threshold": 0.5}, {"author": "me"})
    assert whole.task_options == {"tag_dim": 2, "grouping": {"tag_threshold": 2}}


@pytest.mark.parametrize("name", ["robots", "bees", "blood", "blood_finish", "people", "nuclei"])
def test_recipes_of_shipped_models_are_tuned_for_their_own_data(name):
    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / f"{name}.yaml")
    assert recipe.notes() == []
    assert recipe.complete().info["data"]
    assert not {"grouping", "pairing"} & set(recipe.task_options)
    assert recipe.sigmas is None
    assert recipe.decoder == {}


def test_text_that_looks_like_a_number_is_text_after_saving(recipe_file, tmp_path):
    facts = ["1e3", "1e400", "-2E-5", "1.5", "yes", "null", "0x1f", "2001-01-01", "\ud800", "a: b"]
    recipe = load_recipe(recipe_file(MINIMAL))
    recipe = replace(recipe, info={"facts": facts, "1e5": 1e-5})
    save_recipe(recipe, tmp_path / "saved.yaml")
    assert load_recipe(tmp_path / "saved.yaml") == recipe


def test_notes_on_values_tuned_for_a_set_without_a_name(recipe_file):
    recipe = load_recipe(
        recipe_file(MINIMAL + "tuned: {annotations: '', decoder: {threshold: 1}}\n")
    )
    assert len(recipe.notes()) == 1
