"""LLaMA-Factory's keys that need no thought, as data. Version 0.9."""

from __future__ import annotations

from typing import Any

RENAMED: dict[str, str] = {
    "model_name_or_path": "model.base",
    "model_revision": "model.revision",
    "quantization_bit": "model.quantization",
    "adapter_name_or_path": "adapter.continue_from",
    "stage": "stage.kind",
    "finetuning_type": "adapter.kind",
    "lora_rank": "adapter.rank",
    "lora_alpha": "adapter.alpha",
    "lora_dropout": "adapter.dropout",
    "lora_target": "adapter.targets",
    "loraplus_lr_ratio": "adapter.loraplus_lr_ratio",
    "use_dora": "adapter.dora",
    "use_rslora": "adapter.rslora",
    "pissa_init": "adapter.init",
    "pissa_iter": "adapter.pissa_iterations",
    "additional_target": "adapter.modules_to_save",
    "add_tokens": "model.new_tokens",
    "rope_scaling": "model.rope_scaling",
    "add_special_tokens": "model.new_special_tokens",
    "new_special_tokens": "model.new_special_tokens",
    "oft_block_size": "adapter.block_size",
    "oft_target": "adapter.targets",
    "freeze_trainable_layers": "adapter.layers",
    "freeze_trainable_modules": "adapter.modules",
    "freeze_extra_modules": "adapter.extra_modules",
    "cutoff_len": "data.max_length",
    "learning_rate": "training.learning_rate",
    "num_train_epochs": "training.epochs",
    "max_steps": "training.max_steps",
    "per_device_train_batch_size": "training.batch_size",
    "gradient_accumulation_steps": "training.batch_size",
    "lr_scheduler_type": "training.schedule.kind",
    "warmup_ratio": "training.schedule.warmup_ratio",
    "optim": "training.optimizer.kind",
    "weight_decay": "training.optimizer.weight_decay",
    "adam_beta1": "training.optimizer.beta1",
    "adam_beta2": "training.optimizer.beta2",
    "adam_epsilon": "training.optimizer.epsilon",
    "max_grad_norm": "training.max_grad_norm",
    "seed": "training.seed",
    "logging_steps": "training.log_every_steps",
    "save_steps": "training.checkpoint.every_steps",
    "save_total_limit": "training.checkpoint.keep",
    "eval_steps": "training.evaluate.every_steps",
    "load_best_model_at_end": "training.stop.restore_best",
    "run_name": "name",
    "packing": "training.batch_tokens",
}

DEFAULTS: dict[str, Any] = {
    "stage.kind": "sft",
    "data.max_length": 2048,
    "training.epochs": 3.0,
    "training.learning_rate": 5e-5,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "training.schedule.kind": "linear",
    "training.schedule.warmup_ratio": 0.0,
    "training.schedule.min_ratio": 0.0,
    "training.optimizer.weight_decay": 0.0,
    "training.max_grad_norm": 1.0,
    "training.checkpoint.every_steps": 500,
}

_ALWAYS = "always so here"
_READING = "not needed: reading and caching of data look after themselves"
_SPEED = "not needed: speed only, chosen by itself here"
_TORCHRUN = "not needed: several processes find each other through torchrun"
_EVALUATION = "not needed: evaluation is batched by memory"

NOT_NEEDED: dict[str, str] = {
    "do_train": _ALWAYS,
    "dataset_dir": "used to find dataset_info.json and the files",
    "media_dir": _READING,
    "overwrite_cache": _READING,
    "preprocessing_num_workers": _READING,
    "preprocessing_batch_size": _READING,
    "dataloader_num_workers": _READING,
    "dataloader_pin_memory": _READING,
    "dataloader_prefetch_factor": _READING,
    "dataloader_persistent_workers": _READING,
    "tokenized_path": _READING,
    "data_shared_file_system": _READING,
    "remove_unused_columns": _READING,
    "cache_dir": _READING,
    "overwrite_output_dir": "an existing run is never overwritten: give another --run",
    "save_safetensors": _ALWAYS,
    "save_only_model": "checkpoints always hold what resuming needs",
    "plot_loss": _ALWAYS,
    "include_num_input_tokens_seen": _ALWAYS,
    "include_tokens_per_second": _ALWAYS,
    "logging_strategy": "steps are always logged",
    "logging_first_step": _ALWAYS,
    "logging_dir": "logs lie in the run directory",
    "metric_for_best_model": "the validation loss",
    "greater_is_better": "the validation loss",
    "flash_attn": _SPEED,
    "resize_vocab": "tables grow with model.new_tokens, and only then",
    "neat_packing": "rows never see each other here, packed or not",
    "use_fast_tokenizer": _ALWAYS,
    "group_by_length": "not needed: there is no padding here",
    "low_cpu_mem_usage": _ALWAYS,
    "enable_liger_kernel": _SPEED,
    "use_unsloth": _SPEED,
    "use_unsloth_gc": _SPEED,
    "use_kv_cache": _SPEED,
    "use_cache": _SPEED,
    "tf32": _SPEED,
    "torch_compile": _SPEED,
    "bf16_full_eval": _EVALUATION,
    "fp16_full_eval": _EVALUATION,
    "per_device_eval_batch_size": _EVALUATION,
    "eval_accumulation_steps": _EVALUATION,
    "ddp_timeout": _TORCHRUN,
    "ddp_find_unused_parameters": _TORCHRUN,
    "ddp_backend": _TORCHRUN,
    "local_rank": _TORCHRUN,
    "average_tokens_across_devices": _ALWAYS,
    "ignore_data_skip": "a resumed run goes on exactly where it was",
    "upcast_layernorm": "adapters, norms and losses are computed in full precision where it counts",
    "upcast_lmhead_output": "the loss is computed in float32",
}

_OTHER_METHOD = "this method is not part of this version"
_WHOLE_MODEL = "each device holds the whole model here; several of them train through torchrun"
_COMMAND = "it belongs to another command"

NOT_SUPPORTED: dict[str, str] = {
    "output_dir": "a recipe does not hold its place: give --run DIR to tunesmith train",
    "logging_nan_inf_filter": "a loss that is not finite stops the run",
    "template": "the model's own chat template is used; data.chat_template sets another",
    "default_system": "put the system message into the rows",
    "enable_thinking": "reasoning is kept as the rows hold it",
    "tool_format": "tools are written as the chat template writes them",
    "train_on_prompt": "only answers are learned",
    "trust_remote_code": "never turned on by a file of another system; write it yourself if needed",
    "use_llama_pro": _OTHER_METHOD,
    "use_dft_loss": _OTHER_METHOD,
    "loraplus_lr_embedding": "embeddings have no rate of their own",
    "shift_attn": _OTHER_METHOD,
    "mixture_of_depths": _OTHER_METHOD,
    "moe_aux_loss_coef": "the balance loss of the model's own configuration is used",
    "mix_strategy": "datasets are joined; data.train[].sampling_rate weights them",
    "interleave_probs": "datasets are joined; data.train[].sampling_rate weights them",
    "streaming": "data of any size is read in constant memory anyway",
    "buffer_size": "rows are shuffled over the whole dataset",
    "eval_on_each_dataset": "one dataset to validate on is supported",
    "compute_accuracy": "token accuracy is always measured",
    "do_eval": "follows data.validation",
    "do_predict": _COMMAND,
    "predict_with_generate": _COMMAND,
    "resume_from_checkpoint": "give --resume to tunesmith train",
    "deepspeed": _WHOLE_MODEL,
    "fsdp": _WHOLE_MODEL,
    "fsdp_config": _WHOLE_MODEL,
    "data_seed": "training.seed starts all random choices",
    "max_new_tokens": _COMMAND,
    "hf_hub_token": "never copied: set HF_TOKEN in the environment",
    "ms_hub_token": "never copied: set it in the environment",
    "om_hub_token": "never copied: set it in the environment",
    "push_to_hub": "results stay on this machine",
    "export_dir": _COMMAND,
    "export_size": _COMMAND,
    "reward_model": "reinforcement (ppo) is not part of this version",
    "ref_model": "the reference is the model before training",
    "ref_model_adapters": "the reference is the model before training",
    "ref_model_quantization_bit": "the reference is the model before training",
    "pref_bco_weight": _OTHER_METHOD,
    "ld_alpha": _OTHER_METHOD,
}

# Keys that each method has, beside those of other methods.
OF_METHODS: dict[str, tuple[str, ...]] = {
    "lora": (
        *("lora_rank", "lora_alpha", "lora_dropout", "lora_target", "loraplus_lr_ratio"),
        *("use_dora", "use_rslora", "pissa_init", "pissa_iter", "additional_target"),
    ),
    "oft": ("oft_block_size", "oft_target", "oft_rank", "module_dropout", "additional_target"),
    "freeze": ("freeze_trainable_layers", "freeze_trainable_modules", "freeze_extra_modules"),
}
# Switches that choose an optimizer, and the keys of its settings.
OPTIMIZERS: dict[str, str] = {
    "use_galore": "galore",
    "use_apollo": "apollo",
    "use_adam_mini": "adam_mini",
    "use_muon": "muon",
    "use_badam": "badam",
}
# Keys of BAdam: those that are fields here, and those of modes that are not.
BLOCKS: dict[str, str] = {
    "badam_switch_interval": "block_switch_steps",
    "badam_switch_mode": "block_order",
}
NO_BLOCKS = (
    *("badam_mode", "badam_start_block", "badam_update_ratio", "badam_mask_mode"),
    "badam_verbose",
)
PROJECTIONS: dict[str, str] = {
    "rank": "projection_rank",
    "update_interval": "projection_gap",
    "scale": "projection_scale",
}
# Keys of a stage: where each goes, and the stages that have it.
OF_STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "pref_beta": ("stage.beta", ("dpo", "simpo", "orpo", "kto")),
    "pref_ftx": ("stage.ftx", ("dpo", "simpo")),
    "dpo_label_smoothing": ("stage.label_smoothing", ("dpo", "simpo")),
    "simpo_gamma": ("stage.gamma", ("simpo",)),
    "kto_chosen_weight": ("stage.desirable_weight", ("kto",)),
    "kto_rejected_weight": ("stage.undesirable_weight", ("kto",)),
    "neftune_noise_alpha": ("stage.neftune_alpha", ("sft",)),
    "label_smoothing_factor": ("stage.label_smoothing", ("sft",)),
}
# What LLaMA-Factory takes where the file is silent and our own default is another.
STAGE_DEFAULTS: dict[str, dict[str, Any]] = {"simpo": {"stage.beta": 0.1, "stage.gamma": 0.5}}
OPTIMIZER_DEFAULTS: dict[str, dict[str, Any]] = {
    kind: {
        "training.optimizer.projection_rank": 16,
        "training.optimizer.projection_gap": 200,
        "training.optimizer.projection_scale": scale,
    }
    for kind, scale in (("galore", 2.0), ("apollo", 32.0))
}
