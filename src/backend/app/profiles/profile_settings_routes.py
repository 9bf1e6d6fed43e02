"""`/api/settings`: the settings of the profile that `X-Profile-ID` names."""

from fastapi import APIRouter

from app import problems
from app.dependencies import SessionDep
from app.profiles import settings as profile_settings
from app.profiles.settings import ProfileSettings, SettingsChange

router = APIRouter(prefix="/api/settings", tags=["settings"], responses=problems.responses(*problems.OF_A_PROFILE))


@router.get("", summary="The profile's settings")
async def get_settings(session: SessionDep) -> ProfileSettings:
    return await session.read(profile_settings.read)


@router.patch("", summary="Change some settings")
async def change_settings(change: SettingsChange, session: SessionDep) -> ProfileSettings:
    values = change.model_dump(exclude_unset=True)
    return await session.write(lambda connection: profile_settings.write(connection, values))


@router.put("", summary="Replace all settings; what is absent gets its default")
async def replace_settings(wanted: SettingsChange, session: SessionDep) -> ProfileSettings:
    values = wanted.model_dump()
    return await session.write(lambda connection: profile_settings.write(connection, values))
