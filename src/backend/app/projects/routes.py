"""`/api/projects`: reels as they are planned."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Response
from pydantic import Field

from app import problems
from app.clips import rows as clip_rows
from app.db.rows import Row
from app.dependencies import SessionDep
from app.ids import ID_PATTERN, new_id
from app.jobs.dependencies import WAKE_JOBS
from app.models import Body, View
from app.projects import rows
from app.sync.interface import Session
from reel.payloads import MAX_CLIPS, MAX_OVERLAY_TEXT, Aspect, Quality, Transition

router = APIRouter(
    prefix="/api/projects",
    tags=["projects"],
    responses=problems.responses(*problems.OF_A_PROFILE),
    dependencies=[WAKE_JOBS],
)
ProjectId = Annotated[str, Path(pattern=ID_PATTERN, description="The project.")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Clips = Annotated[
    list[Annotated[str, Field(pattern=ID_PATTERN)]],
    Field(max_length=MAX_CLIPS, description="In order; a clip may come twice."),
]
_ONE: Final = problems.responses(problems.NOT_FOUND, problems.UNKNOWN_PROFILE)


class Options(Body):
    """How the reel looks."""

    overlay_text: Annotated[str, Field(max_length=MAX_OVERLAY_TEXT, description="Empty for none.")] = ""
    aspect: Aspect = "16:9"
    quality: Quality = "standard"
    transition: Transition = "cut"


class NewProject(Body):
    name: Name
    clip_ids: Clips = Field(default_factory=list)
    options: Options = Options()


class ProjectChange(Body):
    name: Name | None = None
    clip_ids: Clips | None = None
    options: Options | None = Field(default=None, description="Replaces all options.")


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
    project_id = new_id("project")
    await _save(session, project_id, wanted.name, wanted.options.model_dump(), wanted.clip_ids)
    return view(await required(session, project_id))


@router.get("", summary="Projects, newest first")
async def list_projects(session: SessionDep) -> ProjectList:
    return ProjectList(projects=[view(row) for row in await session.read(rows.everything)])


@router.get("/{project_id}", summary="One project", responses=_ONE)
async def get_project(project_id: ProjectId, session: SessionDep) -> ProjectView:
    return view(await required(session, project_id))


@router.patch("/{project_id}", summary="Change name, clips or options", responses=_ONE)
async def change_project(project_id: ProjectId, change: ProjectChange, session: SessionDep) -> ProjectView:
    project = await required(session, project_id)
    await _save(
        session,
        project_id,
        change.name or project["name"],
        change.options.model_dump() if change.options else project["options"],
        project["clip_ids"] if change.clip_ids is None else change.clip_ids,
    )
    return view(await required(session, project_id))


@router.delete("/{project_id}", status_code=204, summary="Delete a project; its exports stay", responses=_ONE)
async def delete_project(project_id: ProjectId, session: SessionDep) -> Response:
    await required(session, project_id)
    await session.write(lambda connection: rows.delete(connection, project_id))
    return Response(status_code=204)


async def _save(session: Session, project_id: str, name: str, options: dict[str, Any], clip_ids: list[str]) -> None:
    def change(connection: clip_rows.Connection) -> list[str]:
        unknown = [clip_id for clip_id in clip_ids if clip_rows.find(connection, clip_id) is None]
        if not unknown:
            rows.save(connection, project_id, name, options, clip_ids)
        return unknown

    unknown = await session.write(change)
    if unknown:
        raise problems.INVALID.error(f"body.clip_ids: no such clips in this profile: {', '.join(unknown[:10])}")


def view(row: Row) -> ProjectView:
    return ProjectView(**row)


async def required(session: Session, project_id: str) -> Row:
    """The project; raises a 404 problem."""
    found = await session.read(lambda connection: rows.find(connection, project_id))
    if found is None:
        raise problems.NOT_FOUND.error(f"There is no project {project_id!r} in this profile")
    return found
