"""What fields look like in the examples of the OpenAI API's document (api/documented.py)."""

from __future__ import annotations

from typing import Any, Final

from tunesmith.schemas.samples import CHECKPOINT, FILE, JOB, PROJECT, TUNED, sample_id

_GRADER: Final = {
    "type": "string_check",
    "name": "same",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
_NUMBERS: Final = {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 1.0}
_NO_FLAG: Final = {
    "formula_parse_error": False,
    "sample_parse_error": False,
    "truncated_observation_error": False,
    "unresponsive_reward_error": False,
    "invalid_variable_error": False,
    "other_error": False,
    "python_grader_server_error": False,
    "python_grader_server_error_type": None,
    "python_grader_runtime_error": False,
    "python_grader_runtime_error_details": None,
    "model_grader_server_error": False,
    "model_grader_server_error_details": None,
    "model_grader_refusal_error": False,
    "model_grader_parse_error": False,
}

OPENAI_SAMPLES: Final[dict[str, Any]] = {
    # ---- lists
    "has_more": False,
    **dict.fromkeys(("first_id", "last_id", "param", "error"), None),
    **dict.fromkeys(("created_at", "created"), 1_773_480_413),
    # ---- files and uploads
    **{f"{each}.id": FILE for each in ("FileObject", "FileDeleted")},
    "bytes": 1024,
    "filename": "train.jsonl",
    "purpose": "fine-tune",
    "FileObject.status": "processed",
    "status_details": None,
    "expires_at": None,
    "UploadObject.id": sample_id("upload-"),
    "UploadObject.status": "pending",
    "UploadObject.expires_at": 1_773_484_013,
    "UploadObject.file": None,
    "PartObject.id": sample_id("part-"),
    "upload_id": sample_id("upload-"),
    # ---- models and chat
    **{f"{each}.id": TUNED for each in ("ModelObject", "ModelDeleted")},
    "owned_by": "default",
    "shutdown_date": None,
    "ChatAnswer": {
        "id": "chatcmpl-7f3c1e5a9b2d4860",
        "object": "chat.completion",
        "created": 1_773_480_413,
        "model": TUNED,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "I look it up for you."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 14, "completion_tokens": 7, "total_tokens": 21},
    },
    # ---- jobs
    "model": "starter",
    "training_file": FILE,
    "validation_file": None,
    "JobCreate.suffix": "support-bot",
    "JobCreate.seed": 42,
    "JobCreate.method": {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": "auto", "batch_size": 8}},
    },
    "JobObject.id": JOB,
    "JobObject.status": "succeeded",
    "finished_at": 1_773_481_297,
    "estimated_finish": None,
    "fine_tuned_model": TUNED,
    "organization_id": "default",
    "result_files": [sample_id("file-result-")],
    "trained_tokens": 51_840,
    "seed": 42,
    "JobObject.hyperparameters": _NUMBERS,
    "JobObject.method": {"type": "supervised", "supervised": {"hyperparameters": _NUMBERS}},
    "integrations": None,
    "metadata": {"team": "help desk"},
    "user_provided_suffix": "support-bot",
    "EventObject": {
        "id": f"ftevent-{JOB.removeprefix('ftjob-')}-000000024",
        "object": "fine_tuning.job.event",
        "created_at": 1_773_480_421,
        "level": "info",
        "message": "Step 90/100: training loss=0.43",
        "type": "metrics",
        "data": {"step": 90, "total_steps": 100, "train_loss": 0.4318},
    },
    "CheckpointObject.id": CHECKPOINT,
    "fine_tuned_model_checkpoint": f"{TUNED}:ckpt-step-88",
    "fine_tuning_job_id": JOB,
    "checkpoint_id": CHECKPOINT,
    "step_number": 88,
    "CheckpointMetrics": {
        "step": 88.0,
        "train_loss": 0.4402,
        "train_mean_token_accuracy": 0.871,
        "valid_loss": 0.4713,
        "valid_mean_token_accuracy": 0.862,
        "full_valid_loss": None,
        "full_valid_mean_token_accuracy": None,
    },
    "CopyObject.id": sample_id("model-"),
    "CopyObject.status": "completed",
    "CopyObject.model": "support-bot-step-88",
    "CopyCreate.name": "support-bot-step-88",
    "EstimateObject.basis": "size",
    "n_epochs": 3,
    "batch_size": 8,
    "learning_rate_multiplier": 1.0,
    "rows": 600,
    "steps": 225,
    "EstimateObject.trained_tokens": 154_287,
    "seconds": 128.0,
    "memory_bytes": 111_149_056,
    "price_cents_per_hour": 250.0,
    "price_cents": 9,
    "PermissionObject.id": sample_id("cp-"),
    "PermissionDeleted.id": sample_id("cp-"),
    "project_id": PROJECT,
    # ---- graders
    "GraderChecked.grader": _GRADER,
    "GraderResult": {
        "reward": 1.0,
        "sub_rewards": {},
        "metadata": {
            "name": "same",
            "type": "string_check",
            "scores": {"same": 1.0},
            "execution_time": 0.0004,
            "token_usage": None,
            "sampled_model_name": None,
            "errors": _NO_FLAG,
        },
        "model_grader_token_usage_per_model": {},
    },
    # ---- errors
    "Problem": {
        "message": f"There is no job {JOB}.",
        "type": "invalid_request_error",
        "param": None,
        "code": "job_not_found",
    },
}
