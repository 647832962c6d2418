"""A configuration as the settings of the Trainer and of PEFT."""

import os

import torch
from peft import LoraConfig, TaskType
from transformers import TrainingArguments

from toolkit.training.compat import name_cpu_without_number
from toolkit.training.config import TrainingConfig
from toolkit.training.precision import computes_in_bf16

MINIMUM_EVALUATIONS = 5


def lora_config(config: TrainingConfig) -> LoraConfig:
    """PEFT's configuration; it has no defaults for DistilBERT and changes the lists it is given."""
    return LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=config.r,
        lora_alpha=config.lora_alpha,
        target_modules=list(config.target_modules),
        lora_dropout=config.lora_dropout,
        bias=config.bias,
        modules_to_save=list(config.modules_to_save),
    )


def training_arguments(config: TrainingConfig) -> TrainingArguments:
    """The Trainer's."""
    has_cuda = torch.cuda.is_available()
    in_bf16 = computes_in_bf16(config.precision)
    # The Trainer sets this variable for bf16 and never takes it back, so a later run in the process would get it too.
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if in_bf16 else "no"
    arguments = TrainingArguments(
        output_dir=str(config.checkpoint_folder),
        logging_dir=str(config.log_folder),
        num_train_epochs=config.num_train_epochs,
        max_steps=config.max_steps or -1,
        per_device_train_batch_size=config.per_device_train_batch_size,
        per_device_eval_batch_size=config.per_device_eval_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_ratio=config.warmup_ratio,
        max_grad_norm=config.max_grad_norm,
        group_by_length=config.group_by_length,
        eval_strategy="steps",
        save_strategy="steps",
        logging_strategy="steps",
        eval_steps=config.eval_steps,
        save_steps=config.eval_steps,
        logging_steps=config.eval_steps,
        logging_nan_inf_filter=False,  # such a loss ends the run
        load_best_model_at_end=True,
        metric_for_best_model=config.metric_for_best_model,
        greater_is_better=config.metric_for_best_model != "loss",
        seed=config.seed,
        data_seed=config.seed,
        bf16=in_bf16,
        use_cpu=not (has_cuda or torch.backends.mps.is_available()),  # the Trainer takes bf16 on a CPU only when told
        dataloader_pin_memory=has_cuda,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,  # there are none; looking for them costs a walk of the graph at every step
        ddp_timeout=86_400,  # seconds; a run may be stopped for a while, as by a signal or by closing a lid
        label_names=["labels"],  # PEFT hides the model's signature, from which the Trainer would read it
        report_to=["tensorboard"],
        restore_callback_states_from_checkpoint=True,
    )
    name_cpu_without_number(arguments)
    return arguments


def scale_steps(config: TrainingConfig, arguments: TrainingArguments, reviews: int) -> int:
    """Evaluate often enough for a short run; returns the run's total of optimiser steps."""
    batch = arguments.train_batch_size * arguments.world_size * config.gradient_accumulation_steps
    steps_per_epoch = -(-reviews // batch)
    total = config.max_steps or max(1, -(-int(steps_per_epoch * config.num_train_epochs * 1000) // 1000))
    every = max(1, min(config.eval_steps, total // MINIMUM_EVALUATIONS))
    arguments.eval_steps = arguments.save_steps = arguments.logging_steps = every
    return total
