"""`/api/profiles`: the profiles of the user that `X-User-ID` names."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import Field

from app import problems
from app.context import UserContext
from app.dependencies import CoreDep, UserDep
from app.games.uploads import end_all
from app.ids import ID_PATTERN
from app.jobs.dependencies import RunnerDep
from app.jobs.models import Job
from app.models import Body, View, name
from app.profiles.model import Entry, Registry
from app.profiles.registry import require

router = APIRouter(
    prefix="/api/profiles",
    tags=["profiles"],
    responses=problems.responses(*problems.OF_A_USER),
)
_UNKNOWN = problems.responses(problems.UNKNOWN_PROFILE, problems.GONE)
Name = Annotated[str, name(100)]
ProfileId = Annotated[str, Path(pattern=ID_PATTERN, description="The profile.")]


class NewProfile(Body):
    name: Name
    id: Annotated[str | None, Field(pattern=ID_PATTERN, description="Leave it out: the server makes one.")] = None


class ProfileChange(Body):
    name: Name


class ProfileView(View):
    id: str
    name: str
    created_at: str
    updated_at: str
    selected: bool


class ProfileList(View):
    profiles: list[ProfileView]
    selected: str | None


def _view(entry: Entry, registry: Registry) -> ProfileView:
    return ProfileView(
        id=entry.id,
        name=entry.name,
        created_at=entry.created_at,
        updated_at=entry.updated_at,
        selected=registry.selected == entry.id,
    )


@router.get("", summary="List the user's profiles")
async def list_profiles(user: UserDep, core: CoreDep) -> ProfileList:
    registry = await core.profiles.registry(user)
    return ProfileList(profiles=[_view(entry, registry) for entry in registry.active()], selected=registry.selected)


_CREATED: dict[int | str, dict[str, Any]] = {
    201: {"headers": {"Location": {"description": "Path of the profile.", "schema": {"type": "string"}}}}
}


@router.post(
    "",
    status_code=201,
    summary="Create a profile",
    responses=_CREATED | problems.responses(problems.CONFLICT, problems.GONE),
)
async def create_profile(wanted: NewProfile, user: UserDep, core: CoreDep, response: Response) -> ProfileView:
    entry, registry = await core.profiles.create(user, wanted.name, wanted.id)
    response.headers["Location"] = f"/api/profiles/{entry.id}"
    return _view(entry, registry)


@router.get("/{profile_id}", summary="One profile", responses=_UNKNOWN)
async def get_profile(profile_id: ProfileId, user: UserDep, core: CoreDep) -> ProfileView:
    registry = await core.profiles.registry(user)
    return _view(require(registry, profile_id), registry)


@router.patch("/{profile_id}", summary="Rename a profile", responses=_UNKNOWN)
async def rename_profile(profile_id: ProfileId, change: ProfileChange, user: UserDep, core: CoreDep) -> ProfileView:
    registry = await core.profiles.rename(user, profile_id, change.name)
    return _view(require(registry, profile_id), registry)


@router.post("/{profile_id}/select", summary="Make it the profile that the app opens with", responses=_UNKNOWN)
async def select_profile(profile_id: ProfileId, user: UserDep, core: CoreDep) -> ProfileView:
    registry = await core.profiles.select(user, profile_id)
    return _view(require(registry, profile_id), registry)


@router.delete("/{profile_id}", status_code=204, summary="Delete a profile and all it holds", responses=_UNKNOWN)
async def delete_profile(profile_id: ProfileId, user: UserDep, core: CoreDep, runner: RunnerDep) -> None:
    context = UserContext(user, profile_id)
    jobs: list[Job] = []

    async def end(context: UserContext) -> None:
        jobs.extend(await end_all(core, context))

    # Before, so that no merge of this Machine comes behind; and after, for a request that opened it again.
    await core.databases.forget(context)
    await core.profiles.delete(context, end)
    await core.databases.forget(context)
    runner.stop_jobs(context, jobs)
