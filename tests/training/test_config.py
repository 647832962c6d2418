import json
import tomllib
from dataclasses import asdict, fields, replace

import pytest
from click.testing import CliRunner

from toolkit.cli import cli
from toolkit.errors import ConfigError, ToolkitError
from toolkit.models.architectures import ARCHITECTURES, DISTILBERT
from toolkit.models.base_models import resolve_base_model
from toolkit.text.labels import SENTIMENT, LabelSet
from toolkit.training.config import PRESETS, TrainingConfig, load_config, parse_assignments
from toolkit.training.description import RunDescription
from toolkit.training.launch import Launch


def test_the_defaults_are_the_documents():
    config = TrainingConfig()
    assert config == load_config("imdb-distilbert")
    expected = {
        "base_model": "distilbert-base-uncased", "r": 8, "lora_alpha": 32, "lora_dropout": 0.1, "bias": "none",
        "target_modules": ("q_lin", "v_lin"), "modules_to_save": ("pre_classifier", "classifier"),
        "num_train_epochs": 3, "per_device_train_batch_size": 8, "learning_rate": 1e-4, "weight_decay": 0.01,
        "eval_steps": 3000, "metric_for_best_model": "accuracy", "lr_scheduler_type": "cosine", "warmup_ratio": 0.1,
        "max_grad_norm": 1.0, "max_length": 512,
    }  # fmt: skip
    assert {name: getattr(config, name) for name in expected} == expected
    assert str(config.checkpoint_folder) == "lora_imdb"
    assert str(config.log_folder) == "logs"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid(preset):
    load_config(preset)


def test_checkpoints_lie_beside_the_adapter():
    config = TrainingConfig(adapter_dir="build/run/lora_model")
    assert str(config.checkpoint_folder) == "build/run/lora_imdb"
    assert str(TrainingConfig(checkpoint_dir="elsewhere").checkpoint_folder) == "elsewhere"


def test_a_file_and_overrides(tmp_path):
    (tmp_path / "c.toml").write_text('base_model = "minilm"\nr = 4\ntarget_modules = ["q_lin"]\nlearning_rate = 1\n')
    config = load_config(None, tmp_path / "c.toml", {"r": 16})
    assert (config.base_model, config.r, config.target_modules) == ("minilm", 16, ("q_lin",))


def test_everything_wrong_is_listed_in_one_error(tmp_path):
    (tmp_path / "c.toml").write_text(
        'learning_rat = 1e-4\nfrobnicate = 1\nr = 0\nseed = "x"\nlora_dropout = 1.5\nmax_length = 600\nwarmup_ratio = 2\n'
        'target_modules = ["q_lin", "classifier"]\nmetric_for_best_model = "vibes"\n'
    )  # fmt: skip
    with pytest.raises(ConfigError) as error:
        load_config(None, tmp_path / "c.toml")
    text = str(error.value)
    assert "unknown setting 'learning_rat'; did you mean 'learning_rate'?" in text
    for name in (
        "frobnicate",
        "r = 0",
        "seed = 'x'",
        "lora_dropout = 1.5",
        "max_length = 600",
        "warmup_ratio = 2",
        "vibes",
    ):
        assert name in text
    assert "classifier in both target_modules and modules_to_save" in text
    assert len(error.value.problems) == 9


@pytest.mark.parametrize(
    ("setting", "value"),
    [("r", "8"), ("r", 8.5), ("group_by_length", 1), ("target_modules", "q_lin"), ("dropout", "none"), ("seed", True)],
)
def test_wrong_types(setting, value):
    with pytest.raises(ConfigError, match=f"{setting} = .*expected"):
        TrainingConfig(**{setting: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modules_to_save": ("pre_classifier",)}, "random weights"),
        ({"train_max_length": 256, "max_length": 128}, "train_max_length = 256"),
        ({"target_modules": ()}, "needs a layer"),
        ({"adapter_dir": "."}, "expected a folder of its own"),
        ({"adapter_dir": "lora_imdb"}, "apart from the checkpoints"),
        ({"adapter_dir": "x/model", "checkpoint_dir": "x"}, "apart from the checkpoints"),
        ({"adapter_dir": "logs"}, "apart from the logs"),
        ({"seed": 2**32}, "less than"),
        ({"num_train_epochs": float("inf")}, "expected a finite number"),
        ({"num_train_epochs": 1e300}, r"num_train_epochs = 1e\+300: expected 2147483647 or less"),
        ({"max_steps": 10**400}, "max_steps = 10+: expected 2147483647 or less"),
        ({"learning_rate": float("nan")}, "expected a finite number"),
    ],
)
def test_impossible_combinations(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**settings)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ToolkitError, match="does not exist"):
        load_config(None, tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("r = = 8")
    with pytest.raises(ToolkitError, match="is not valid TOML"):
        load_config(None, tmp_path / "bad.toml")
    with pytest.raises(ToolkitError, match="give one of them"):
        load_config("demo", tmp_path / "bad.toml")
    with pytest.raises(ToolkitError, match="there is no preset 'nope'"):
        load_config("nope")


def test_every_setting_explains_itself():
    assert all(len(each.metadata["help"]) > 10 for each in fields(TrainingConfig))


def test_a_shorter_maximum_shortens_the_view(tmp_path):
    file = tmp_path / "view.toml"
    file.write_text("train_max_length = 256\n")
    assert load_config(None, file, {"max_length": 300}).train_max_length == 256
    assert load_config(None, file, {"max_length": 120}).train_max_length == 120


def test_precision_is_one_of_three():
    assert TrainingConfig(precision="bf16").precision == "bf16"
    with pytest.raises(ConfigError, match="precision = 'fp16': expected one of auto, fp32, bf16"):
        TrainingConfig(precision="fp16")


@pytest.mark.parametrize(
    ("name", "wrong", "expected"),
    [
        ("r", 0, "1 or more"),
        ("train_probe", 0, "1 or more"),
        ("max_steps", -1, "0 or more"),
        ("weight_decay", -0.1, "0 or more"),
        ("learning_rate", 0.0, "more than 0"),
        ("num_train_epochs", 0, "more than 0"),
        ("dropout", 1.0, "0 or more and less than 1"),
        ("warmup_ratio", 1.1, "0 to 1"),
        ("max_length", 7, "8 to 512, DistilBERT's positions"),
        ("train_max_length", 7, "0, or 8 or more"),
        ("seed", 2**32, "0 or more and less than 4294967296, numpy's limit"),
        ("eval_steps", 2**31, "2147483647 or less"),
        ("bias", "some", "one of none, all, lora_only"),
        ("lr_scheduler_type", "sine", "one of cosine, linear, constant, constant_with_warmup"),
    ],
)
def test_a_setting_keeps_to_its_constraints(name, wrong, expected):
    with pytest.raises(ConfigError) as error:
        TrainingConfig(**{name: wrong})
    shown = repr(wrong) if isinstance(wrong, str) else wrong
    assert error.value.problems == [f"{name} = {shown}: expected {expected}"]


def test_every_number_and_every_choice_is_constrained():
    free = ("base_model", "dataset", "adapter_dir", "checkpoint_dir", "logging_dir", "target_modules", "modules_to_save",
            "group_by_length", "display", "ngrams", "soft_labels", "start_from")  # fmt: skip
    for each in fields(TrainingConfig):
        constraints = each.metadata["constraints"]
        bounded = None in (constraints.minimum, constraints.above) and (constraints.minimum, constraints.above) != (
            None,
            None,
        )
        assert bool(bounded or constraints.choices) == (each.name not in free), each.name


@pytest.mark.parametrize(("key", "setting"), [("output", "adapter_dir"), ("output_dir", "checkpoint_dir")])
def test_a_setting_under_its_name_of_version_0_1_is_told_its_new_one(tmp_path, key, setting):
    (tmp_path / "c.toml").write_text(f'{key} = "x"\n')
    for arguments in ((None, tmp_path / "c.toml"), ("demo", None, {key: "x"})):
        with pytest.raises(ConfigError) as error:
            load_config(*arguments)
        assert error.value.problems == [f"unknown setting '{key}': {key} is now {setting}"]


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("epochs", "num_train_epochs"),
        ("batch_size", "per_device_train_batch_size"),
        ("batch-size", "per_device_train_batch_size"),
        ("max-steps", "max_steps"),
    ],
)
def test_an_options_name_in_a_file_is_hinted_at(tmp_path, key, setting):
    (tmp_path / "c.toml").write_text(f"{key} = 3\n")
    with pytest.raises(ConfigError, match=f"unknown setting '{key}'; did you mean '{setting}'"):
        load_config(None, tmp_path / "c.toml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbfr = 4\n")
    assert load_config(None, tmp_path / "c.toml").r == 4


def test_words_for_labels_come_from_a_table_and_from_the_command_line(tmp_path):
    (tmp_path / "a.toml").write_text('[labels.zh]\n"a:b" = "甲"\nc = "丙=丙"\n', encoding="utf-8")
    config = load_config(config_file=tmp_path / "a.toml", overrides={"display": ("zh:c=丁",)})
    labels = config.with_words(LabelSet.of_model(["a:b", "c"]))
    assert [label.display("zh") for label in labels] == ["甲", "丁"]
    assert "display" not in config.recipe, "words decide nothing that is learnt"


@pytest.mark.parametrize("entry", ["positive=正面评论", "zh:positive", "zh:=x", "zh:positive=", ""])
def test_a_word_for_no_label_is_refused(entry):
    with pytest.raises(ConfigError, match=r"expected LANGUAGE:LABEL=WORD, as zh:positive=正面评论"):
        TrainingConfig(display=(entry,))


def test_a_word_for_a_label_that_there_is_not_is_refused_with_the_list():
    with pytest.raises(ConfigError, match="a word for the label 'neutral', expected one of negative, positive"):
        TrainingConfig(display=("zh:neutral=中性",)).with_words(SENTIMENT)


def test_the_layers_are_the_familys_where_nobody_named_others():
    roberta = ARCHITECTURES["roberta"]
    fitted = TrainingConfig().fitted_to(roberta)
    assert (fitted.target_modules, fitted.modules_to_save) == (("query", "value"), ("classifier",))
    assert TrainingConfig().fitted_to(DISTILBERT) == TrainingConfig()
    named = TrainingConfig(target_modules=("query",), modules_to_save=("classifier",))
    assert named.fitted_to(roberta) == named
    preset = load_config("imdb-minilm-cpu")
    assert preset.fitted_to(DISTILBERT) == preset
    teacher = load_config("imdb-teacher")
    assert teacher.fitted_to(ARCHITECTURES["mpnet"]) == teacher


def test_a_dropout_that_a_family_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="seq_classif_dropout: a base of the family mpnet has none of its own"):
        TrainingConfig(seq_classif_dropout=0.1).fitted_to(ARCHITECTURES["mpnet"])


def test_what_is_measured_afterwards_is_no_part_of_the_recipe():
    assert TrainingConfig(final_evaluation="validation").recipe == TrainingConfig().recipe
    with pytest.raises(ConfigError, match="final_evaluation = 'test': expected one of all, validation"):
        TrainingConfig(final_evaluation="test")
    for values in ({"soft_weight": 0.0}, {"soft_weight": 1.5}, {"soft_temperature": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(values))):
            TrainingConfig(**values)


def test_a_run_of_before_a_setting_was_there_is_gone_on_with_by_its_default(tiny_base, tiny_dataset):
    config = TrainingConfig(base_model=str(tiny_base), dataset=str(tiny_dataset))
    now = RunDescription.of(config, resolve_base_model(str(tiny_base)), Launch())
    earlier = replace(now, settings={name: value for name, value in now.settings.items() if name != "soft_weight"})
    assert list(now.differences(earlier)) == []
    other = RunDescription.of(replace(config, soft_weight=0.9), resolve_base_model(str(tiny_base)), Launch())
    assert list(other.differences(earlier)) == ["soft_weight"]


def test_steps_are_reported_where_nobody_sees_a_bar(monkeypatch, caplog, capsys):
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from toolkit import progress
    from toolkit.training import callbacks

    caplog.set_level("INFO")
    now, losses = [0.0], iter((0.5, 0.25, 0.75, 1.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    steps, arguments, control = (
        callbacks.Steps(lambda: next(losses)),
        TrainingArguments("out", report_to=[]),
        TrainerControl(),
    )
    steps.on_train_begin(arguments, TrainerState(global_step=2, max_steps=11), control)
    for step, at in enumerate((25.0, 50.0, 75.0, 80.0), start=3):
        now[0] = at
        steps.on_step_end(arguments, TrainerState(global_step=step, max_steps=11), control)
    steps.on_train_end()
    assert [record.message for record in caplog.records if "steps" in record.message] == [
        "training: 5 of 11 steps, loss 0.5000, 25.0 s each; 2 minutes to go"
    ]
    token = progress.style.set("json")
    try:
        steps = callbacks.Steps(lambda: 0.5)
        steps.on_train_begin(arguments, TrainerState(global_step=0, max_steps=1), control)
        for _ in range(4):  # two evaluations, each told of when it ends
            steps.on_prediction_step(arguments, TrainerState(), control, eval_dataloader=range(2))
        steps.on_step_end(arguments, TrainerState(global_step=1, max_steps=1), control)
        steps.on_train_end()
    finally:
        progress.style.reset(token)
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(each["stage"], each["done"], each["total"]) for each in events] == [
        ("training", 0, 1), ("evaluating", 0, 2), ("evaluating", 2, 2), ("evaluating", 0, 2), ("evaluating", 2, 2),
        ("training", 1, 1),
    ]  # fmt: skip
    assert events[-1]["loss"] == 0.5


@pytest.mark.parametrize(
    ("precision", "units", "in_bf16", "said"),
    [
        ("auto", "AVX512-BF16", True, "bf16, for which the CPU's AVX512-BF16 is made"),
        ("auto", None, False, "fp32"),
        ("fp32", "AMX", False, "fp32"),
        ("bf16", None, True, "bf16"),
    ],
)
def test_auto_takes_bf16_where_the_cpu_is_made_for_it_and_says_so(
    monkeypatch, tmp_path, precision, units, in_bf16, said
):
    from toolkit.training import arguments
    from toolkit.training import precision as module

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # restored afterwards; the arguments set it
    monkeypatch.setattr(arguments.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(module, "cpu_bf16_units", lambda: units)
    config = TrainingConfig(precision=precision, adapter_dir=str(tmp_path / "lora_model"))
    assert module.describe_precision(precision) == said
    assert arguments.training_arguments(config).bf16 is in_bf16


@pytest.mark.parametrize(
    ("written", "meant"),
    [('""', ()), ('"a"', ("a",)), ("[]", ()), ('[""]', ()), ('["a", ""]', ("a",)), ('["a", "b"]', ("a", "b"))],
)
def test_a_file_names_adapters_as_a_list_and_as_version_0_2_wrote_one(tmp_path, written, meant):
    (tmp_path / "config.toml").write_text(f"start_from = {written}\n")
    assert load_config(None, tmp_path / "config.toml").start_from == meant
    assert load_config("demo", None, {"start_from": meant or ("",)}).start_from == meant


def test_other_kinds_of_adapters_are_refused(tmp_path):
    for written in ("3", "[3]"):
        (tmp_path / "config.toml").write_text(f"start_from = {written}\n")
        with pytest.raises(ConfigError, match="expected a list of texts"):
            load_config(None, tmp_path / "config.toml")


def test_settings_are_assigned_by_their_types():
    values = parse_assignments(
        ["r=4", "learning_rate = 1e-3", "lr_scheduler_type=linear", "base_model=2024", "target_modules=q_lin, v_lin",
         'modules_to_save=["classifier"]', "group_by_length=false", "dropout=none", "attention_dropout=0.25", "ngrams=False",
         "r=16", "start_from=a=b, c"]
    )  # fmt: skip
    assert values == {
        "r": 16, "learning_rate": 1e-3, "lr_scheduler_type": "linear", "base_model": "2024",
        "target_modules": ("q_lin", "v_lin"), "modules_to_save": ["classifier"], "group_by_length": False, "dropout": None,
        "attention_dropout": 0.25, "ngrams": "False", "start_from": ("a=b", "c"),
    }  # fmt: skip
    for nothing in ("none", "null"):
        assert load_config("imdb-minilm-cpu", None, parse_assignments([f"dropout={nothing}"])).dropout is None


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("ev_steps=3", "unknown setting 'ev_steps'; did you mean 'eval_steps'?"),
        ("r=x", "r = 'x': expected a whole number"),
        ("r=1\nseed = 2", "expected a whole number"),
        ("seed=", "seed = '': expected a whole number"),
        ("ngrams=False", "ngrams = 'False': expected true or false"),
        ("seed", "'seed': expected NAME=VALUE"),
        ("=3", "'=3': expected NAME=VALUE"),
        ("dropout=1.0", "dropout = 1.0: expected 0 or more and less than 1"),
    ],
)
def test_an_assignment_that_means_nothing_is_refused(entry, said):
    result = CliRunner().invoke(cli, ["train", "--set", entry])
    assert result.exit_code == 1
    assert said in result.stderr
    assert not result.stdout


def test_an_option_and_an_assignment_of_one_setting_are_refused():
    result = CliRunner().invoke(cli, ["train", "--learning-rate", "1", "--set", "learning_rate=2"])
    assert result.exit_code == 2
    assert "learning_rate: given by --set and by an option of its own" in result.stderr


def test_what_is_shown_is_a_file_of_the_same_run(tmp_path):
    arguments = [
        "--preset",
        "demo",
        "--set",
        "attention_dropout=none",
        "--epochs",
        "2",
        "--display",
        'zh:positive="\x7f正"',
    ]
    result = CliRunner().invoke(cli, ["train", *arguments, "--show"])
    assert result.exit_code == 0, result.output
    assert "# attention_dropout =\n" in result.stdout
    shown = tomllib.loads(result.stdout)
    assert {*shown} >= {name for name, value in asdict(TrainingConfig()).items() if value is not None}
    (tmp_path / "c.toml").write_text(result.stdout, encoding="utf-8")
    expected = load_config(
        "demo", None, {"attention_dropout": None, "num_train_epochs": 2.0, "display": ('zh:positive="\x7f正"',)}
    )
    assert load_config(None, tmp_path / "c.toml") == expected
