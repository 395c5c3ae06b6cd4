"""Models: presets, one's own, imports, files, lineage. A model is named by id or by name."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse

from tunesmith.api.dependencies import SOUGHT, After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.documented import a_file
from tunesmith.api.listed import listed
from tunesmith.models.presets import (
    Capability,
    Preset,
    capabilities,
    context_label,
    guide,
    memory_bytes,
    size_label,
)
from tunesmith.schemas.common import Listed
from tunesmith.schemas.models import (
    CapabilityRead,
    ImportFolders,
    LineageEdge,
    LineageNode,
    LineageRead,
    ModelDetails,
    ModelFilePreview,
    ModelFileRead,
    ModelFiles,
    ModelImport,
    ModelKind,
    ModelRead,
    ModelSource,
    ModelUpdate,
    PresetList,
    PresetRead,
)
from tunesmith.schemas.tasks import TaskRead
from tunesmith.server.services.models import Ground, ImportOrder, ModelFilter, usual_hub

router = APIRouter(prefix="/models", tags=["models"], route_class=CallerFirst)
METHODS = ("lora", "full")
FilePath = Annotated[
    str, Query(min_length=1, max_length=500, description="As the list of files has it.")
]


@router.get("/presets")
def list_presets(caller: CallerDep, platform: PlatformDep) -> PresetList:
    """Well-known models to start from, and how to choose one by need, cost and length of texts."""
    found = platform.models.presets(caller)
    data = [_preset(preset, model_id, caller.language) for preset, model_id in found]
    return PresetList(data=data, guide=guide(caller.language))


@router.get("/folders")
def list_import_folders(caller: CallerDep, platform: PlatformDep) -> ImportFolders:
    """Folders on the server that a model may be imported from."""
    return ImportFolders(data=list(platform.models.folders(caller)))


@router.post("/import", status_code=202)
def import_model(body: ModelImport, caller: CallerDep, platform: PlatformDep) -> TaskRead:
    """Download or copy a model, check it and register it; the task tells how far it is."""
    order = ImportOrder(
        **body.model_dump(exclude={"project_id", "source", "shown_name", "base", "task"}),
        source=body.source or usual_hub(),  # pyright: ignore[reportArgumentType]
        shown_name=body.shown_name or "",
        base=body.base or "",
        task=body.task or "",
    )
    return TaskRead.model_validate(platform.models.start_import(caller, order, body.project_id))


@router.get("")
def list_models(
    caller: CallerDep,
    platform: PlatformDep,
    project_id: Annotated[str | None, Query(max_length=100)] = None,
    kind: ModelKind | None = None,
    source: ModelSource | None = None,
    text: Annotated[str, Query(max_length=200, description=SOUGHT)] = "",
    after: After = None,
    limit: Limit = 20,
) -> Listed[ModelRead]:
    """Results of jobs and imports, newest first."""
    wanted = ModelFilter(project_id, kind, source, text)
    return listed(platform.models.list(caller, wanted, after=after, limit=limit), ModelRead)


@router.get("/{model_id:path}/files")
def list_model_files(model_id: str, caller: CallerDep, platform: PlatformDep) -> ModelFiles:
    files = platform.models.files(caller, model_id)
    data = [ModelFileRead.model_validate(file) for file in files]
    return ModelFiles(data=data, has_more=False)


@router.get("/{model_id:path}/files/text")
def preview_model_file(
    model_id: str,
    path: FilePath,
    caller: CallerDep,
    platform: PlatformDep,
    most_bytes: Annotated[int, Query(ge=1, le=1 << 20)] = 1 << 16,
) -> ModelFilePreview:
    """The beginning of a text file: settings, chat template, model card."""
    found = platform.models.preview(caller, model_id, path, most_bytes)
    return ModelFilePreview.model_validate(found)


@router.get(
    "/{model_id:path}/files/content",
    response_class=FileResponse,
    responses=a_file("The bytes of the file, as an attachment; `ETag` is its SHA-256."),
)
def download_model_file(
    model_id: str, path: FilePath, caller: CallerDep, platform: PlatformDep
) -> FileResponse:
    """One file, as an attachment."""
    file, place = platform.models.file(caller, model_id, path)
    name = file.path.rpartition("/")[2]
    return FileResponse(
        place,
        media_type="application/octet-stream",
        filename=name,
        headers={"etag": f'"{file.sha256}"'},
    )


@router.get("/{model_id:path}/lineage")
def get_lineage(model_id: str, caller: CallerDep, platform: PlatformDep) -> LineageRead:
    """What the model was made of, and what was made of it."""
    graph = platform.models.lineage(caller, model_id)
    return LineageRead(
        model_id=graph.model_id,
        nodes=[LineageNode.model_validate(node) for node in graph.nodes.values()],
        edges=[LineageEdge.model_validate(edge) for edge in graph.edges],
    )


@router.get("/{model_id:path}")
def get_model(model_id: str, caller: CallerDep, platform: PlatformDep) -> ModelDetails:
    model, rests_on = platform.models.described(caller, model_id)
    return _details(model, rests_on, caller.language)


@router.patch("/{model_id:path}")
def update_model(
    model_id: str, body: ModelUpdate, caller: CallerDep, platform: PlatformDep
) -> ModelRead:
    """Change description, task type, or what forms are filled with for it."""
    changes = body.model_dump(exclude_none=True)
    return ModelRead.model_validate(platform.models.update(caller, model_id, **changes))


@router.delete("/{model_id:path}", status_code=204)
def delete_model(model_id: str, caller: CallerDep, platform: PlatformDep) -> None:
    """Refused while jobs or models need it. What was made of it keeps its lineage."""
    platform.models.delete(caller, model_id)


def _preset(preset: Preset, model_id: str | None, language: str) -> PresetRead:
    return PresetRead(
        **preset.model_dump(include={"name", "title", "family", "context", "task", "licence"}),
        about=preset.about(language),
        parameters=preset.parameters,
        size=preset.size,
        context_label=context_label(preset.context),
        gated=preset.gated,
        hubs=dict(preset.hubs),
        memory_bytes=_memory(preset.parameters),
        capabilities=_capabilities(capabilities(preset.family), language),
        model_id=model_id,
    )


def _details(model: Any, rests_on: Ground, language: str) -> ModelDetails:
    """What the files of a model say, or those of its base, and what follows from that."""
    parameters, context = rests_on.parameters, rests_on.context
    found = capabilities(rests_on.family, quantised=rests_on.quantised)
    return ModelDetails(
        **ModelRead.model_validate(model).model_dump(),
        size=size_label(parameters) if parameters else None,
        context=context,
        context_label=context_label(context) if context else None,
        memory_bytes=_memory(parameters) if parameters else {},
        capabilities=_capabilities(found, language),
        defaults=dict(rests_on.defaults),
        recipe=model.recipe,
    )


def _memory(parameters: int) -> dict[str, int]:
    return {method: memory_bytes(parameters, method) for method in METHODS}


def _capabilities(found: list[Capability], language: str) -> list[CapabilityRead]:
    return [
        CapabilityRead(
            stage=row.stage,
            method=row.method,
            available=row.available,
            reason=row.reason(language),
        )
        for row in found
    ]
