"""What fields look like in the examples of the native API's document (api/documented.py).

By name of a field, the same in all models; by "Model.field" where one is different. A model whose
fields belong together has a whole example.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def sample_id(prefix: str) -> str:
    """An id as the server makes them; always the same one of a kind."""
    chance = hashlib.sha256(prefix.encode()).digest()[:16]
    return f"{prefix}01kat3v9m0{''.join(_DIGITS[byte % 32] for byte in chance)}"


JOB: Final = sample_id("ftjob-")
MODEL: Final = sample_id("model-")
DATASET, VERSION = sample_id("ds-"), sample_id("dsv-")
PROJECT, USER, FILE, TASK = (sample_id(kind) for kind in ("proj-", "user-", "file-", "task-"))
CHECKPOINT, DEPLOYMENT = sample_id("ftckpt_"), sample_id("dep-")
TUNED: Final = "ft:starter:default:support-bot:" + JOB[-8:]
RECIPE: Final[dict[str, Any]] = {
    "name": "support-bot",
    "model": {"base": "starter"},
    "adapter": {"kind": "lora", "rank": 16, "alpha": 32},
    "data": {"train": [{"dataset": "builtin:shop", "sampling_rate": 1.0}]},
    "training": {"epochs": 2, "batch_size": 16, "learning_rate": 1e-4},
}
YAML: Final = (
    "name: support-bot\nmodel: {base: starter}\ndata:\n  train:\n  - dataset: builtin:shop\n"
    "training: {epochs: 2, batch_size: 16, learning_rate: 0.0001}\n"
)
_ROW: Final = {"prompt": "Where is my order?", "completion": "I look it up for you."}
_SHA: Final = hashlib.sha256(b"tunesmith").hexdigest()
_EARLY, _LATE = "2026-03-14T09:26:53Z", "2026-03-14T09:41:37Z"

SAMPLES: Final[dict[str, Any]] = {
    # ---- times
    **dict.fromkeys(("created_at", "claimed_at", "time", "started_at"), _EARLY),
    **dict.fromkeys(("changed_at", "finished_at", "ended_at", "last_used_at", "used_at"), _LATE),
    **dict.fromkeys(("last_login_at", "sent_at"), _LATE),
    **dict.fromkeys(("archived_at", "deleted_at", "disabled_at", "failing_since"), None),
    **dict.fromkeys(("next_try_at", "read_only_since"), None),
    "expires_at": "2026-06-12T09:26:53Z",
    # ---- ids and references
    "project_id": PROJECT,
    "project_ids": [PROJECT],
    "user_id": USER,
    "token_id": sample_id("tok-"),
    "job_id": JOB,
    "job_ids": [JOB],
    "model_id": MODEL,
    "dataset_id": DATASET,
    "dataset_version_id": VERSION,
    "file_id": FILE,
    "task_id": TASK,
    "deployment_id": DEPLOYMENT,
    "worker_id": sample_id("wk-"),
    "request_id": "req_7f3c1e5a9b2d48609d1b",
    "target": JOB,
    **dict.fromkeys(("parent_id", "checkpoint_id", "base_model_id", "last_id", "first_id"), None),
    "AskedRead.id": sample_id("ask-"),
    "AuditRead.id": sample_id("audit-"),
    "CheckpointRead.id": CHECKPOINT,
    "DatasetRead.id": DATASET,
    "DeploymentRead.id": DEPLOYMENT,
    "EvaluationRead.id": sample_id("eval-"),
    "FileRead.id": FILE,
    **{f"{job}.id": JOB for job in ("JobRead", "JobDetails", "JobSubmitted")},
    "LineageNode.id": MODEL,
    **{f"{model}.id": MODEL for model in ("ModelRead", "ModelDetails")},
    "PreviewTokenRead.id": 1427,
    "ProjectRead.id": PROJECT,
    "SentNoticeRead.id": sample_id("notice-"),
    **{f"Subscription{each}.id": sample_id("sub-") for each in ("Made", "Read", "Secret")},
    "TaskRead.id": TASK,
    **{f"{token}.id": sample_id("tok-") for token in ("TokenRead", "TokenCreated")},
    "UploadRead.id": sample_id("upload-"),
    **{f"{user}.id": USER for user in ("UserRead", "UserCreated")},
    **{f"{version}.id": VERSION for version in ("VersionRead", "VersionDetails")},
    # ---- lists and answers about answers
    "has_more": False,
    "error": None,
    "notices": [
        {
            "code": "no_validation",
            "message": "No row is held back for validation.",
            "hint": "Set data.validation to see whether the model really gets better.",
            "field": "data.validation",
        }
    ],
    "hint": "",
    "param": None,
    "ErrorBody": {
        "error": {
            "code": "job_not_found",
            "message": f"There is no job {JOB}.",
            "hint": "Look at the list of jobs.",
            "param": None,
            "request_id": "req_7f3c1e5a9b2d48609d1b",
            "details": {},
        }
    },
    "problems": [],
    "data": [],
    # ---- people and access
    "name": "support-bot",
    "email": "li.na@example.com",
    "password": "correct horse battery",
    **{
        f"{user}.name": "li.na"
        for user in ("UserRead", "UserCreated", "MemberRead", "CandidateRead")
    },
    **{f"{token}.name": "laptop" for token in ("TokenRead", "TokenCreated")},
    "ProjectRead.name": "support",
    "is_admin": False,
    "language": "en",
    "role": "user",
    **{f"{member}.role": "member" for member in ("MemberRead", "MemberSet")},
    "roles": {PROJECT: "member"},
    "scopes": ["read", "write"],
    "prefix": "tsk-4fA9",
    "TokenCreated.secret": "tsk-4fA9xQ2mWn8rTz6vKp1dHs3bYc7gJe5u",
    "quota_running_jobs": 2,
    "quota_device_hours": 100.0,
    "quota_storage_bytes": 107_374_182_400,
    "credit_cents": 10_000,
    "held_cents": 0,
    "weight": 1.0,
    "description": "Questions to the help desk",
    "is_on": True,
    "login": "/api/v1/oidc/login",
    "action": "job.create",
    "address": "192.0.2.17",
    "AuditRead.details": {"name": "support-bot"},
    # ---- jobs
    "base": "starter",
    "labels": {"team": "help desk"},
    **{f"{job}.status": "succeeded" for job in ("JobRead", "JobDetails")},
    "JobSubmitted.status": "queued",
    "JobSubmitted.notices": [],
    "JobSubmitted.is_new": True,
    **{
        f"JobSubmitted.{name}": None
        for name in ("started_at", "finished_at", "total_steps", "loss", "trained_tokens")
    },
    **{f"JobSubmitted.{name}": 0 for name in ("attempt", "tries", "step")},
    "JobSubmitted.worker_id": None,
    "reason": "",
    "intent": None,
    "priority": 0,
    "position": 3.0,
    "num_devices": 1,
    "flavour": "gpu-1",
    "price_cents_per_hour": 250.0,
    "price_cents": 61,
    "charged_cents": 61,
    "attempt": 1,
    "tries": 1,
    "step": 100,
    "total_steps": 100,
    "loss": 0.4187,
    "trained_tokens": 51_840,
    "eta_seconds": None,
    "event_count": 112,
    "num_checkpoints": 1,
    "peak_memory_bytes": 560_750_592,
    "subscriptions": [],
    "AttemptRead.outcome": "succeeded",
    "devices": [0],
    "number": 1,
    "device_seconds": 884.0,
    "ok": True,
    "metrics": {"loss": 0.4187, "validation_loss": 0.4523},
    "bytes": 1_048_576,
    "seq": 12,
    "EventRead": {
        "job_id": JOB,
        "number": 24,
        "attempt": 1,
        "seq": 12,
        "type": "step",
        "level": "info",
        "message": "Step 12/100: training loss=0.93",
        "data": {"step": 12, "total_steps": 100, "loss": 0.9312, "learning_rate": 9.8e-5},
        "created_at": _EARLY,
    },
    "last_number": 24,
    "last_step": 100,
    "restarts": [],
    "series": {
        "loss": {
            "steps": [1, 50, 100],
            "values": [1.8214, 0.6105, 0.4187],
            "times": [1.2, 60.7, 121.3],
            "smoothed": None,
            "num_points": 100,
        }
    },
    "references": {},
    "LogRead": {
        "text": "step 100/100  loss 0.419\n",
        "start": 18_204,
        "end": 18_229,
        "size": 18_229,
        "first": 0,
    },
    "submitted": {"recipe": {"training": {"epochs": 2}}, "base": "starter"},
    "recipe": RECIPE,
    "yaml": YAML,
    "resolved_yaml": YAML,
    "findings": [
        {
            "code": "still_falling",
            "weight": "note",
            "message": "The validation loss still fell at the end.",
            "hint": "Train longer.",
            "numbers": {"last": 0.4523, "best": 0.4523},
            "changes": {"training.epochs": 3},
        }
    ],
    # ---- what a job takes
    "EstimateRead.basis": "size",
    "rows": 600,
    "steps": 76,
    "tokens": 102_858,
    "seconds": 88.5,
    "memory_bytes": 541_149_056,
    "memory_basis": "layers",
    "num_past_runs": 0,
    "affordable": True,
    "billing_url": "https://billing.example.com/rules",
    "ScalingRead.flavour": "gpu-2",
    "ScalingRead.num_devices": 2,
    "is_sensible": True,
    "counts": [1, 2],
    "ScalingRead.why": None,
    "FlavourRead.name": "gpu-1",
    "FlavourRead.kind": "cuda",
    "device": "NVIDIA H200",
    "region": "berlin",
    "regions": ["berlin"],
    "FlavourRead.memory_bytes": 150_754_820_096,
    "is_available": True,
    "is_free": True,
    # ---- datasets
    "DatasetRead.name": "support",
    "Detected.rows": [{"line": 1, "record": _ROW, "refused": None}],
    "PreviewRead.rows": [
        {
            "tokens": [
                {"id": 1427, "text": "Where", "supervised": False, "special": False},
                {"id": 981, "text": " I", "supervised": True, "special": False},
            ],
            "cut_at": None,
        }
    ],
    "Edited": {
        "version": None,
        "task": None,
        "counts": {"removed": 2, "kept": 598},
        "diff": {"counts": {"added": 0, "removed": 2, "changed": 0, "same": 598}},
        "details": None,
    },
    "Get Report": {
        "subject": "support@1",
        "sources": [{"source": "questions.csv", "format": "prompt_response"}],
        "rows_read": 600,
        "rows_usable": 600,
        "bytes": 30_600,
        "characters": 29_640,
        "languages": {"latin": 480, "cjk": 120},
        "counts": {"error": 0, "warning": 1, "info": 0},
        "findings": [
            {
                "code": "duplicate",
                "severity": "warning",
                "title": "Rows that are the same as an earlier one",
                "count": 2,
                "mend": "Remove them.",
                "fix": "duplicate",
                "detail": {},
                "places": [{"row": 42, "line": 42}],
            }
        ],
    },
    "Get Statistics": {
        "rows": 600,
        "tokens": {"total": 25_714, "mean": 42.9, "max": 118},
        "epoch": {"steps": 75, "tokens": 25_714},
    },
    "Diff Versions": {
        "before": "support@1",
        "after": "support@2",
        "counts": {"added": 0, "removed": 2, "changed": 0, "same": 598},
        "added": [],
        "removed": [{"id": 42, **_ROW}],
        "changed": [],
    },
    "tags": ["shop"],
    "licence": "CC0-1.0",
    "DatasetRead.state": "published",
    "num_versions": 1,
    "content": _SHA,
    "kinds": {"chat": 600},
    "note": "First import",
    "operations": [{"kind": "import", "format": "prompt_response"}],
    "sources": [{"file": "questions.jsonl", "sha256": _SHA, "rows": 600}],
    "rejected": 0,
    "RowsPage.data": [{"id": 1, **_ROW}],
    "next_after": 100,
    "total": 600,
    "RowsPage.has_more": True,
    "ImportFolders.data": ["support-2026-03"],
    "ListedRead": {
        "name": "support",
        "problem": "",
        "verdicts": [],
        "dataset_id": DATASET,
        "task": None,
    },
    "file": "questions.jsonl",
    "format": "prompt_response",
    "why": "The columns prompt and completion were found.",
    "Detected.kind": "chat",
    "DetectedColumn": {"name": "prompt", "examples": ["Where is my order?"]},
    "used_columns": ["prompt", "completion"],
    "line": 1,
    "record": {"messages": [{"role": "user", "content": "Where is my order?"}]},
    "refused": None,
    "SplitAnswer.task": None,
    "SplitsRead": {
        "rows": 600,
        "seed": 42,
        "training": {"rows": 500},
        **{
            part: {
                "rows": 50,
                "wanted": 50,
                "returned_to_training": 0,
                "set_aside": 0,
                "duplicates_removed": 0,
                "ids": [17, 23, 42],
            }
            for part in ("validation", "test")
        },
        "values": {},
    },
    "MixingPortion": {
        "name": "builtin:shop",
        "role": "user",
        "rows_available": 600,
        "rows_drawn": 600,
        "rate": 1.0,
        "share": 100.0,
        "tokens": None,
    },
    "general_missing": 0,
    "NearRead": {
        "subject": "question",
        "rows": 600,
        "near": 1,
        "exact": 0,
        "similarity_from": 0.8,
        "pairs": [
            {
                "row": 17,
                "same_as": 4,
                "similarity": 0.91,
                "text": "Where is my order?",
                "same_text": "Where's my order?",
            }
        ],
    },
    "MixingRequest.datasets": [{"dataset": "builtin:shop"}, {"dataset": "support@2"}],
    "datasets.PresetRead.name": "builtin:shop",
    "datasets.PresetRead.description": "Thirty intents of a shop's customers, in two languages.",
    # ---- models
    **{f"{model}.name": TUNED for model in ("ModelRead", "ModelDetails", "ModelMade")},
    **{f"{model}.kind": "adapter" for model in ("ModelRead", "ModelDetails", "ModelMade")},
    **{f"{model}.source": "job" for model in ("ModelRead", "ModelDetails")},
    "is_new": True,
    "ModelRead.task": "text QA",
    "ModelDetails.task": "text QA",
    "ModelRead.details": {"steps": 100, "best_loss": 0.4523},
    "ModelDetails.details": {"steps": 100, "best_loss": 0.4523},
    "context": 32_768,
    "context_label": "32k",
    "context_length": 32_768,
    "ModelDetails.memory_bytes": {"lora": 1_400_000_000, "full": 9_600_000_000},
    "models.PresetRead.memory_bytes": {"lora": 1_400_000_000, "full": 9_600_000_000},
    "CapabilityRead": {"stage": "sft", "method": "lora", "available": True, "reason": ""},
    "ModelDetails.defaults": {"training.epochs": 3, "training.learning_rate": 1e-4},
    "ModelFileRead.path": "adapter_config.json",
    "ModelFilePreview.path": "adapter_config.json",
    "ModelFilePreview.text": '{"peft_type": "LORA", "r": 16}',
    "sha256": _SHA,
    "is_text": True,
    "is_whole": True,
    "LineageRead": {
        "model_id": MODEL,
        "nodes": [
            {"id": MODEL, "kind": "model", "name": TUNED, "details": {"model_kind": "adapter"}},
            {"id": JOB, "kind": "job", "name": "support-bot", "details": {}},
        ],
        "edges": [{"source": JOB, "target": MODEL, "relation": "result"}],
    },
    "ModelDefaults": {
        "base": "starter",
        "profile": "default",
        "preset": None,
        "values": {"training.epochs": 3, "training.batch_size": 16, "training.learning_rate": 1e-4},
        "reasons": {"training.learning_rate": "Recommended for LoRA on a model of this size."},
        "methods": ["lora", "full"],
        "context_length": 1024,
        "parameters": 2_118_912,
    },
    "CheckpointModel.name": "support-bot-step-100",
    "models.PresetRead.name": "Qwen/Qwen3-0.6B",
    "models.PresetRead.title": "Qwen3 0.6B",
    "about": "Small and quick; for tasks with clear answers.",
    "family": "Qwen3",
    "parameters": 596_049_920,
    "models.PresetRead.licence": "Apache-2.0",
    "gated": False,
    "hubs": {"hub": "Qwen/Qwen3-0.6B", "modelscope": "Qwen/Qwen3-0.6B"},
    "guide": ["The biggest model is not always the best: try a small one first."],
    # ---- recipes
    "FieldRead": {
        "path": "training.learning_rate",
        "section": "training",
        "group": "basic",
        "types": ["number"],
        "choices": [],
        "optional": False,
        "required": False,
        "default": 1e-4,
        "range": {"ge": None, "gt": 0.0, "le": 1.0, "lt": None, "multiple_of": None},
        "takes": {"en": "above 0, up to 1", "zh": "大于 0, 最大 1"},
        "unit": "",
        "help": {"en": "How far each step moves the weights.", "zh": "每一步更新权重的幅度。"},
        "aliases": ["lr", "学习率"],
        "changes": "result",
        "kinds": [],
    },
    "profile": "default",
    "stage_rows": {"sft": ["conversation"], "dpo": ["preference_pair"]},
    "json_schema": {"title": "Recipe", "type": "object"},
    "ProfileRead": {
        "name": "default",
        "help": {"en": "Values that suit most trainings.", "zh": "适合大多数训练的取值。"},
        "defaults": {"training.epochs": 3},
        "rules": {},
    },
    "recipes.PresetRead": {
        "name": "quick-look",
        "help": {"en": "A short training, to see that all works.", "zh": "短训练, 检查流程。"},
        "profile": "default",
        "values": {"training.epochs": 1},
        "written": {"training": {"epochs": 1}},
        "notices": [],
    },
    "valid": True,
    "ValueRead": {
        "path": "training.epochs",
        "value": 2,
        "origin": "given",
        "preset": None,
        "changed_from_preset": False,
    },
    "Comes": {
        "num_devices": 1,
        "batch_rows": 16,
        "batch_rows_per_device": 16,
        "batch_tokens": None,
        "rows_available": 600,
        "training_rows": 600,
        "steps_per_epoch": 38,
        "total_steps": 76,
        "learning_rate": 1e-4,
        "lowest_learning_rate": 1e-5,
        "warmup_steps": 8,
        "tokens_per_checkpoint": 1_638_400,
    },
    "KeyRead": {
        "key": "learning_rate",
        "value": "5e-5",
        "verdict": "mapped",
        "to": "training.learning_rate",
        "reason": "",
        "line": 4,
    },
    # ---- tasks
    "TaskRead.kind": "dataset.import",
    "TaskRead.target": DATASET,
    "TaskRead.state": "running",
    "TaskRead.result": None,
    "TaskRead.finished_at": None,
    "progress": {
        "done": 300,
        "total": 600,
        "unit": "rows",
        "activity": "read",
        "rate": 2000.0,
        "eta_seconds": 0.2,
    },
    # ---- files
    "filename": "questions.jsonl",
    "purpose": "fine-tune",
    "state_details": "",
    "received_bytes": 524_288,
    "UploadRead.file_id": None,
    # ---- deployments
    "DeploymentRead.name": "help-desk",
    "DeploymentCreate.name": "help-desk",
    "DeploymentRead.status": "ready",
    "autostart": True,
    "idle_seconds": 900,
    "keeps_requests": False,
    "overrides_gate": False,
    "num_requests": 128,
    "AskedRead.kind": "chat",
    "status_code": 200,
    "finish_reason": "stop",
    "prompt_tokens": 14,
    "completion_tokens": 22,
    "AskedRead.seconds": 0.81,
    "first_token_seconds": 0.07,
    "question": [{"role": "user", "content": "Where is my order?"}],
    "answer": "I look it up for you.",
    # ---- evaluations
    "evaluation_id": sample_id("eval-"),
    "EvaluationRead.state": "succeeded",
    "EvaluationRead.model": TUNED,
    "EvaluationRead.data": "builtin:shop, test rows",
    "EvaluationRead.progress": {},
    "EvaluationRead.verdict": "promote",
    "summary": {"verdict": "promote", "because": "Better by 0.21 (0.17 to 0.25)."},
    "Get Document": {
        "verdict": "promote",
        "because": "Better by 0.21 (0.17 to 0.25).",
        "scores": {"exact": {"base": 0.54, "tuned": 0.75, "difference": 0.21}},
    },
    "next_skip": None,
    "score": "exact",
    "EvaluationRows.counts": {"won": 14, "lost": 3, "same": 33},
    "EvaluationRow": {
        "id": "17",
        "messages": [{"role": "user", "content": "Where is my order?"}],
        "reference": "I look it up for you.",
        **{
            who: {
                "text": told,
                "value": value,
                "seconds": 0.6,
                "finish_reason": "stop",
                "error": "",
            }
            for who, told, value in (
                ("base", "Orders are orders.", 0.0),
                ("tuned", "I look it up for you.", 1.0),
            )
        },
        "outcome": "won",
    },
    # ---- notices
    "channel": "webhook",
    **{
        f"Subscription{each}.address": "https://hooks.example.com/tunesmith"
        for each in ("Read", "Secret")
    },
    "events": ["job.succeeded", "job.failed"],
    "disabled_reason": "",
    **{
        f"Subscription{each}.secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        for each in ("Made", "Secret")
    },
    "event": "job.succeeded",
    "SentNoticeRead.tries": [
        {
            "number": 1,
            "time": _EARLY,
            "seconds": 0.21,
            "outcome": "sent",
            "status_code": 200,
            "error": "",
        }
    ],
    "SentNoticeRead.state": "sent",
    # ---- the system
    "Health.status": "ok",
    "version": "0.1.0",
    "database": "sqlite",
    "needs_setup": False,
    "workers_running": 1,
    "workers_silent": 0,
    "warnings": [],
}
