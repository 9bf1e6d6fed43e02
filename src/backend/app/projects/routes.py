"""`/api/projects`: the plans of reels."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator, Field

from app import problems
from app.db.rows import Row
from app.dependencies import SessionDep
from app.ids import ID_PATTERN, new_id
from app.jobs.dependencies import WAKE_JOBS
from app.models import Body, View, name
from app.overlay_text import drawable
from app.projects import rows
from reel.payloads import MAX_CLIPS, MAX_OVERLAY_TEXT, Aspect, Quality, Transition

router = APIRouter(
    prefix="/api/projects",
    tags=["projects"],
    responses=problems.responses(*problems.OF_A_PROFILE),
    dependencies=[WAKE_JOBS],
)
ProjectId = Annotated[str, Path(pattern=ID_PATTERN, description="The project.")]
Name = Annotated[str, name(200)]
Clips = Annotated[
    list[Annotated[str, Field(pattern=ID_PATTERN)]],
    Field(max_length=MAX_CLIPS, description="In order; a clip may come twice."),
]
_ONE: Final = problems.responses(problems.NOT_FOUND, problems.UNKNOWN_PROFILE)


OverlayText = Annotated[str, Field(max_length=MAX_OVERLAY_TEXT, description="Empty for none.")]
NewOverlayText = Annotated[OverlayText, AfterValidator(drawable)]


class Options(Body):
    """How the reel looks; a text that an older release took may hold characters that cannot be drawn."""

    overlay_text: OverlayText = ""
    aspect: Aspect = "16:9"
    quality: Quality = "standard"
    transition: Transition = "cut"


class NewOptions(Options):
    """How the reel looks."""

    overlay_text: NewOverlayText = ""


class NewProject(Body):
    name: Name
    clip_ids: Clips = Field(default_factory=list)
    options: NewOptions = NewOptions()


class OptionsChange(Body):
    """Options to change; those that are absent stay."""

    overlay_text: NewOverlayText = ""
    aspect: Aspect = "16:9"
    quality: Quality = "standard"
    transition: Transition = "cut"


class ProjectChange(Body):
    """What is absent stays."""

    name: Name = ""
    clip_ids: Clips = Field(default_factory=list)
    options: OptionsChange = OptionsChange()


class ProjectView(View):
    id: str
    name: str
    clip_ids: list[str]
    options: Options
    created_at: str
    updated_at: str


class ProjectList(View):
    projects: list[ProjectView]


@router.post("", status_code=201, summary="Plan a reel")
async def create_project(wanted: NewProject, session: SessionDep) -> ProjectView:
    new = (new_id("project"), wanted.name, wanted.options.model_dump(), wanted.clip_ids)
    return view(await session.write(lambda connection: rows.create(connection, *new)))


@router.get("", summary="Projects, newest first")
async def list_projects(session: SessionDep) -> ProjectList:
    return ProjectList(projects=[view(row) for row in await session.read(rows.everything)])


@router.get("/{project_id}", summary="One project", responses=_ONE)
async def get_project(project_id: ProjectId, session: SessionDep) -> ProjectView:
    return view(await session.read(lambda connection: rows.required(connection, project_id)))


@router.patch("/{project_id}", summary="Change name, clips or options", responses=_ONE)
async def change_project(project_id: ProjectId, change: ProjectChange, session: SessionDep) -> ProjectView:
    wanted = change.model_dump(exclude_unset=True)
    return view(await session.write(lambda connection: rows.change(connection, project_id, **wanted)))


@router.delete("/{project_id}", status_code=204, summary="Delete a project; its exports stay", responses=_ONE)
async def delete_project(project_id: ProjectId, session: SessionDep) -> Response:
    await session.write(lambda connection: rows.delete(connection, project_id))
    return Response(status_code=204)


def view(row: Row) -> ProjectView:
    """A newer release may have added columns and options: they are kept, not shown."""
    options = {name: value for name, value in row["options"].items() if name in Options.model_fields}
    return ProjectView(**{**{name: row[name] for name in ProjectView.model_fields}, "options": Options(**options)})
