"""`/api/exports`: renders of projects."""

from typing import Annotated, Final

import apsw
from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from app import problems
from app.dependencies import ContextDep, ProfileKeysDep, SessionDep, StoreDep
from app.exports.plan import plan
from app.ids import ID_PATTERN, new_id
from app.jobs import rows as job_rows
from app.jobs.dependencies import WAKE_JOBS, RunnerDep
from app.jobs.models import Job, JobKind, JobStatus, JobView, view_fields
from app.models import Body, View, name
from app.projects import rows as project_rows
from reel.payloads import PayloadError

router = APIRouter(
    prefix="/api/exports",
    tags=["exports"],
    responses=problems.responses(*problems.OF_A_PROFILE),
    dependencies=[WAKE_JOBS],
)
ExportId = Annotated[str, Path(pattern=ID_PATTERN, description="The export.")]
MOST: Final = 200
_ONE: Final = problems.responses(problems.NOT_FOUND, problems.UNKNOWN_PROFILE)
_CONFLICT: Final = problems.responses(problems.CONFLICT)


Name = Annotated[str, name(200)]


class NewExport(Body):
    project_id: Annotated[str, Field(pattern=ID_PATTERN)]


class ExportChange(Body):
    name: Name


class ExportView(JobView):
    project_id: str
    name: str = Field(description="The project's name when the export began, until it is renamed.")


class ExportList(View):
    exports: list[ExportView]


@router.post("", status_code=202, summary="Render a project", responses=_ONE)
async def create_export(
    wanted: NewExport, session: SessionDep, keys: ProfileKeysDep, context: ContextDep, runner: RunnerDep
) -> ExportView:
    export_id = new_id("export")

    def change(connection: apsw.Connection) -> Job:
        project = project_rows.required(connection, wanted.project_id)
        try:
            payload = plan(connection, project, export_id, keys)
        except PayloadError as error:
            raise problems.INVALID.error(f"The project cannot be rendered: {error}") from error
        return job_rows.create(
            connection, export_id, JobKind.EXPORT, wanted.project_id, payload.to_dict(), name=project["name"]
        )

    job = await session.write(change)
    # The runner opens its own session, so the row must be in object storage first.
    await session.settle()
    runner.submit(context, job)
    return view(job)


@router.get("", summary=f"Exports, newest first (at most {MOST})")
async def list_exports(
    session: SessionDep,
    context: ContextDep,
    runner: RunnerDep,
    project_id: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
) -> ExportList:
    found = await session.read(lambda connection: job_rows.of_kind(connection, JobKind.EXPORT, project_id, MOST))
    return ExportList(exports=[view(runner.latest(context, job)) for job in found])


@router.get("/{export_id}", summary="One export", responses=_ONE)
async def get_export(export_id: ExportId, session: SessionDep, context: ContextDep, runner: RunnerDep) -> ExportView:
    job = await session.read(lambda connection: job_rows.required(connection, export_id, JobKind.EXPORT))
    return view(runner.latest(context, job))


@router.patch("/{export_id}", summary="Rename an export", responses=_ONE)
async def rename_export(
    export_id: ExportId, wanted: ExportChange, session: SessionDep, context: ContextDep, runner: RunnerDep
) -> ExportView:
    def change(connection: apsw.Connection) -> Job:
        job_rows.required(connection, export_id, JobKind.EXPORT)
        job_rows.rename(connection, export_id, wanted.name)
        return job_rows.required(connection, export_id, JobKind.EXPORT)

    return view(runner.latest(context, await session.write(change)))


@router.delete("/{export_id}", status_code=204, summary="Delete an export and its file", responses=_ONE)
async def delete_export(
    export_id: ExportId,
    session: SessionDep,
    store: StoreDep,
    keys: ProfileKeysDep,
    context: ContextDep,
    runner: RunnerDep,
) -> Response:
    """An unfinished export is stopped."""

    def change(connection: apsw.Connection) -> Job:
        job = job_rows.required(connection, export_id, JobKind.EXPORT)
        job_rows.delete(connection, export_id)
        return job

    job = await session.write(change)
    # The row is deleted first, also in R2: a file without a row only wastes space, but a row without its file would be
    # a broken export.
    await session.settle()
    if not job.status.over:
        await runner.cancel(context, job)
    elif job.status is not JobStatus.COMPLETE and job.call_id is not None:
        # Modal may have been away when the export was cancelled.
        runner.stop_jobs(context, [job])
    await store.delete(keys.export(export_id))
    return Response(status_code=204)


@router.post("/{export_id}/cancel", summary="Stop an export", responses=_ONE | _CONFLICT)
async def cancel_export(export_id: ExportId, session: SessionDep, context: ContextDep, runner: RunnerDep) -> ExportView:
    def change(connection: apsw.Connection) -> Job:
        job = job_rows.required(connection, export_id, JobKind.EXPORT)
        if not job_rows.cancel(connection, export_id):
            raise problems.CONFLICT.error(
                f"The export is {job.status}: only a pending or processing one can be cancelled"
            )
        return job_rows.required(connection, export_id, JobKind.EXPORT)

    cancelled = await session.write(change)
    # The row first: the work that ends now finds that it is no longer wanted.
    await session.settle()
    runner.hub.publish(context, cancelled)
    await runner.cancel(context, cancelled)
    return view(cancelled)


@router.post("/{export_id}/retry", status_code=202, summary="Render again", responses=_ONE | _CONFLICT)
async def retry_export(export_id: ExportId, session: SessionDep, context: ContextDep, runner: RunnerDep) -> ExportView:
    def change(connection: apsw.Connection) -> Job:
        job = job_rows.required(connection, export_id, JobKind.EXPORT)
        if not job_rows.sources_exist(connection, job):
            raise problems.CONFLICT.error(
                "A game that the export is rendered from was deleted: export the project anew"
            )
        if not job_rows.retry(connection, export_id):
            raise problems.CONFLICT.error(f"The export is {job.status}: only a failed or cancelled one can be retried")
        return job_rows.required(connection, export_id, JobKind.EXPORT)

    queued = await session.write(change)
    await session.settle()
    runner.hub.publish(context, queued)
    runner.submit(context, queued)
    return view(queued)


def view(job: Job) -> ExportView:
    return ExportView(**view_fields(job), project_id=job.subject_id, name=job.name or "Reel")
