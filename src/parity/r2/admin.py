"""R2's admin API: what is stored, what was seen, faults, saves. See docs/standins/r2.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from parity.admin.app import http_exception_as_problem, problem, read_object
from parity.config.errors import ConfigError
from parity.r2 import cors, lifecycle, locks
from parity.r2.errors import R2Error
from parity.r2.faults import FIELDS, PREFLIGHT, FaultError
from parity.r2.operations.table import HANDLERS
from parity.r2.service import Service, SnapshotError
from parity.r2.settings import BEHAVIOUR_FIELDS, behaviour_to_json, change_behaviour
from parity.r2.store.interface import ObjectInfo
from parity.r2.wire import wire_text

OPERATIONS = frozenset({*HANDLERS, PREFLIGHT})
_FILTERS = ("method", "bucket", "operation", "status", "code", "rule", "request_id", "fault", "prefix")
_PAGE = 1000


def _limit(request: Request, default: int, most: int) -> int:
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or not 1 <= int(text) <= most:
        raise HTTPException(400, f"limit must be a number from 1 to {most}, not {text!r}")
    return int(text)


def _name(data: Mapping[str, object], *, required: bool) -> str:
    name = data.get("name", "")
    if not isinstance(name, str) or (required and not name):
        raise HTTPException(400, "name must be the name of a snapshot")
    return name


class Admin:
    """The routes of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._front = service.front

    def app(self) -> Starlette:
        routes = [
            Route("/r2/healthz", self.healthz),
            Route("/r2/objects", self.objects),
            Route("/r2/requests", self.requests),
            Route("/r2/requests", self.forget_requests, methods=["DELETE"]),
            Route("/r2/faults", self.list_faults),
            Route("/r2/faults", self.add_fault, methods=["POST"]),
            Route("/r2/faults", self.remove_faults, methods=["DELETE"]),
            Route("/r2/snapshot", self.snapshot, methods=["POST"]),
            Route("/r2/snapshots", self.snapshots),
            Route("/r2/restore", self.restore, methods=["POST"]),
            Route("/r2/object", self.object),
            Route("/r2/behaviour", self.behaviour),
            Route("/r2/behaviour", self.behave, methods=["POST"]),
            Route("/r2/behaviour", self.configured_behaviour, methods=["DELETE"]),
            Route("/r2/cors", self.cors_policy),
            Route("/r2/cors", self.change_cors, methods=["PUT"]),
            Route("/r2/cors", self.configured_cors, methods=["DELETE"]),
            Route("/r2/lifecycle", self.lifecycle_rules),
            Route("/r2/lifecycle", self.change_lifecycle, methods=["PUT"]),
            Route("/r2/lifecycle/run", self.run_lifecycle, methods=["POST"]),
            Route("/r2/locks", self.lock_rules),
            Route("/r2/locks", self.change_locks, methods=["PUT"]),
            Route("/r2/reset", self.reset, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: http_exception_as_problem})

    async def healthz(self, _request: Request) -> Response:
        """Healthy: the configured bucket can be reached through the store."""
        bucket = self._service.settings.bucket
        try:
            there = await self._service.store.has_bucket(bucket)
        except R2Error as error:
            return problem(503, "The store does not answer", error.message)
        if not there:
            return problem(503, "The bucket is missing", f"{bucket} was deleted; POST /r2/reset makes it again")
        if disk := await self._service.disk_problem():
            return problem(503, "Bodies cannot be written", disk)
        if self._service.save_problem:
            return problem(503, "What was written is not saved", self._service.save_problem)
        lost = self._service.lost_since
        told = {"status": "ok", "bucket": bucket, "store": self._service.store.name}
        return JSONResponse(told if lost is None else {**told, "writes_may_be_lost_since": lost})

    async def objects(self, request: Request) -> Response:
        """One page of the bucket: ``prefix``, ``after`` (the last key of the page before), ``limit``."""
        params = request.query_params
        bucket = params.get("bucket", self._service.settings.bucket)
        limit, after = _limit(request, _PAGE, 100_000), params.get("after", "")
        found: list[ObjectInfo] = []
        more = True
        try:
            # An upstream lists at most a thousand keys a request, whatever limit it is given.
            while more and len(found) < limit:
                page = await self._service.store.list_page(
                    bucket, params.get("prefix", ""), "", after, limit - len(found)
                )
                found += page.objects
                after = page.next_after
                more = bool(after)
        except R2Error as error:
            return problem(error.status, error.code, error.message)
        objects = [{"key": info.key, "size": info.size, "etag": info.etag, "modified": info.modified} for info in found]
        return JSONResponse({"bucket": bucket, "objects": objects, "truncated": more})

    async def requests(self, request: Request) -> Response:
        """What was seen: the newest ``limit`` requests, filtered by their fields or a ``prefix`` of the key."""
        params = dict(request.query_params)
        params.pop("limit", None)
        unknown = sorted(set(params) - set(_FILTERS))
        if unknown:
            raise HTTPException(400, f"unknown filter {unknown[0]!r}; known: {', '.join(_FILTERS)}, limit")
        return JSONResponse(self._front.seen.to_json(_limit(request, _PAGE, 20_000), params))

    async def forget_requests(self, _request: Request) -> Response:
        self._front.seen.clear()
        return Response(status_code=204)

    async def list_faults(self, _request: Request) -> Response:
        return JSONResponse({"faults": [fault.to_json() for fault in self._front.faults.faults]})

    async def add_fault(self, request: Request) -> Response:
        data = await read_object(request, FIELDS)
        try:
            fault = self._front.faults.add(data, OPERATIONS)
        except FaultError as error:
            raise HTTPException(400, str(error)) from None
        return JSONResponse(fault.to_json(), 201)

    async def remove_faults(self, request: Request) -> Response:
        """All, or the one with ``id``; answers with what they did: ``fired``."""
        id_ = request.query_params.get("id")
        gone = self._front.faults.remove(id_)
        if id_ is not None and not gone:
            raise HTTPException(404, f"there is no fault {id_!r}")
        return JSONResponse({"faults": [fault.to_json() for fault in gone]})

    async def snapshot(self, request: Request) -> Response:
        """Save now; with ``{"name": …}`` also store a snapshot under that name. ``folder`` is empty where nothing is
        saved because an upstream stores the objects."""
        name = _name(await read_object(request, ("name",)), required=False)
        try:
            if name:
                await self._service.snapshot(name)
        except SnapshotError as error:
            raise HTTPException(409, str(error)) from None
        saved, saves = await self._service.save(), self._service.saves
        return JSONResponse({"saved": saved, "folder": "" if saves is None else str(saves.folder), "name": name})

    async def snapshots(self, _request: Request) -> Response:
        return JSONResponse({"snapshots": self._service.snapshots()})

    async def restore(self, request: Request) -> Response:
        """Go back to the snapshot ``{"name": …}``."""
        name = _name(await read_object(request, ("name",)), required=True)
        try:
            await self._service.restore(name)
        except (SnapshotError, ConfigError) as error:
            raise HTTPException(409, str(error)) from None
        return Response(status_code=204)

    async def object(self, request: Request) -> Response:
        """The bytes of ``key``."""
        bucket = request.query_params.get("bucket", self._service.settings.bucket)
        try:
            info, read = await self._service.store.open(bucket, request.query_params.get("key", ""))
        except R2Error as error:
            return problem(error.status, error.code, error.message)
        response = StreamingResponse(read(0, info.size), headers={"content-length": str(info.size)})
        # The same headers as on the S3 side, whatever Content-Type the client set.
        kind = info.attributes.headers.get("content-type", "application/octet-stream")
        response.raw_headers.append((b"content-type", wire_text(kind)))
        return response

    async def behaviour(self, _request: Request) -> Response:
        return JSONResponse(behaviour_to_json(self._front.behaviour))

    async def behave(self, request: Request) -> Response:
        """Change how R2 behaves from the next request on; fields that are not named keep their value."""
        data = await read_object(request, BEHAVIOUR_FIELDS)
        try:
            self._front.behave(change_behaviour(self._front.behaviour, data))
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        return JSONResponse(behaviour_to_json(self._front.behaviour))

    async def configured_behaviour(self, request: Request) -> Response:
        """Return to the behaviour that the settings ask for."""
        self._front.behave(self._service.settings.behaviour)
        return await self.behaviour(request)

    async def cors_policy(self, _request: Request) -> Response:
        """The CORS policy that the bucket has now."""
        policy = self._front.configured.cors.get(self._service.settings.bucket, ())
        return JSONResponse({"CORSRules": cors.to_json(policy)})

    async def change_cors(self, request: Request) -> Response:
        """Set another CORS policy until DELETE. It stands for a change by someone with an admin token; the app's own
        token may not do this."""
        try:
            policy = cors.from_json(await read_object(request, ("CORSRules", "rules")))
        except cors.PolicyError as error:
            raise HTTPException(400, str(error)) from None
        self._front.configured.cors[self._service.settings.bucket] = policy
        return await self.cors_policy(request)

    async def configured_cors(self, request: Request) -> Response:
        """Return to the policy in the file that parity.toml names."""
        self._front.configured.cors.pop(self._service.settings.bucket, None)
        if self._service.settings.policy is not None:
            self._front.configured.cors[self._service.settings.bucket] = self._service.settings.policy
        return await self.cors_policy(request)

    async def lifecycle_rules(self, _request: Request) -> Response:
        """The bucket's lifecycle rules, in the form of ``aws s3api put-bucket-lifecycle-configuration``."""
        return JSONResponse(lifecycle.to_json(self._front.configured.lifecycle(self._service.settings.bucket)))

    async def change_lifecycle(self, request: Request) -> Response:
        """Replace the lifecycle rules. It stands for a change by someone with an admin token."""
        try:
            rules = lifecycle.from_json(await read_object(request, ("Rules",)))
        except lifecycle.LifecycleError as error:
            raise HTTPException(400, str(error)) from None
        self._front.configured.lifecycles[self._service.settings.bucket] = rules
        return await self.lifecycle_rules(request)

    async def run_lifecycle(self, request: Request) -> Response:
        """Apply the lifecycle rules as if ``{"days": 8}`` had passed; the answer lists the keys that they affected."""
        days = (await read_object(request, ("days",))).get("days", 0)
        if isinstance(days, bool) or not isinstance(days, int | float) or not 0 <= days <= 100_000:
            raise HTTPException(400, f"days must be a number from 0 to 100000, not {days!r}")
        try:
            return JSONResponse(asdict(await self._service.run_lifecycle(days)))
        except R2Error as error:
            return problem(502, "The store does not answer", error.message)

    async def lock_rules(self, _request: Request) -> Response:
        """The bucket's locks, in the form of Cloudflare's API."""
        return JSONResponse(locks.to_json(self._front.configured.locks.get(self._service.settings.bucket, ())))

    async def change_locks(self, request: Request) -> Response:
        """Replace the bucket's locks, as Cloudflare's API does; ``{"rules": []}`` removes them."""
        try:
            rules = locks.from_json(await read_object(request, ("rules",)))
        except locks.LockError as error:
            raise HTTPException(400, str(error)) from None
        self._front.configured.locks[self._service.settings.bucket] = rules
        return await self.lock_rules(request)

    async def reset(self, _request: Request) -> Response:
        """Empty the bucket."""
        try:
            await self._service.reset()
        except R2Error as error:
            return problem(502, "The store does not answer", error.message)
        return Response(status_code=204)
