"""Mistakes in this backend, one each, and the check that must notice it: `make mutants`.

Each is a mistake that people make: the incidents of docs/checks.md, a line left out, two steps in the wrong order.
Files are relative to src/backend.
"""

from __future__ import annotations

from parity.checks import Env
from parity.checks.variants import Mutant, Patch

PROJECTS, ROWS = "app/projects/routes.py", "app/projects/rows.py"
SYNC, MAIN, HEALTH = "app/middleware/database_sync.py", "app/main.py", "app/routes/health.py"
R2, KEYS, UPLOADS = "app/storage/r2.py", "app/storage/keys.py", "app/games/uploads.py"
SOCKETS, LIFE, RUNNER = "app/websockets.py", "app/jobs/lifespan.py", "app/jobs/runner.py"
LISTED = "return ProjectList(projects=[view(row) for row in await session.read(rows.everything)])"
CREATED = "return view(await session.write(lambda connection: rows.create(connection, *new)))"
CHANGED = "return view(await session.write(lambda connection: rows.change(connection, project_id, **wanted)))"
SETTLED = """                try:
                    await opened.stack.aclose()
                except (SyncError, StorageError) as error:
                    replaced = True
                    await sync_problem(error, scope["path"])(scope, receive, send)
                    return
"""
LIST_HEAD = "async def list_projects(session: SessionDep) -> ProjectList:\n"

MUTANTS = (
    # --- B: what was acknowledged stays
    Mutant("storage_off", Env({"R2_ENABLED": "false", "MODAL_ENABLED": "false"}), "test_durable"),
    Mutant(
        "answered_before_it_is_stored",
        Patch(SYNC, SETTLED, "                opened.stack.pop_all()\n"),
        "test_kill_amid_writes",
    ),
    Mutant(
        "failure_to_store_ignored",
        Patch(SYNC, SETTLED, SETTLED[: SETTLED.index("as error")].rstrip() + ":\n                    pass\n"),
        "test_down",
    ),
    Mutant(
        "delete_forgets_the_row",
        Patch(ROWS, 'execute(connection, "DELETE FROM projects WHERE id = ?", (project_id,))', "return"),
        "test_delete",
    ),
    Mutant(
        "one_list_for_everybody",
        Patch(PROJECTS, LISTED, LISTED.replace("return ", 'return _ONE.setdefault("kept", ') + ")"),
        "test_people_apart",
        "",
    ),
    Mutant(
        "list_from_memory",
        Patch(
            PROJECTS,
            LISTED,
            LISTED.replace("return ", 'return _ONE.setdefault("of " + str(getattr(session, "_folder", "")), ') + ")",
        ),
        "test_writes_last",
        "are not shown|answered 500",
    ),
    Mutant(
        "every_second_write_dropped",
        Patch(
            PROJECTS,
            CREATED,
            "made = await session.write(lambda connection: rows.create(connection, *new))\n"
            "    if int(new[0][-1], 36) % 2:\n"
            "        await session.write(lambda connection: rows.delete(connection, made['id']))\n"
            "    return view(made)",
        ),
        "test_writes_last",
        "are not shown",
    ),
    # --- D: two at once
    Mutant(
        "edit_reads_then_writes",
        Patch(
            PROJECTS,
            CHANGED,
            "before = await session.read(lambda connection: rows.required(connection, project_id))\n"
            "    await __import__('asyncio').sleep(0.3)\n"
            "    options = {**before['options'], **wanted.get('options', {})}\n"
            "    wanted = {'name': before['name'], **wanted, 'options': options}\n"
            f"    {CHANGED}",
        ),
        "test_edits_at_once",
    ),
    Mutant(
        "edit_forgets_other_options",
        Patch(ROWS, "options = json_patch(options, ?)", "options = json_patch('{}', ?)"),
        "test_edits_in_turn",
    ),
    Mutant(
        "edit_forgets_the_name",
        Patch(ROWS, "name = coalesce(?, name)", "name = coalesce(?, 'Untitled')"),
        "test_edits_in_turn",
    ),
    Mutant(
        "edits_on_two_machines_overwrite",
        Patch("app/replication/object_replica.py", "if_none_match=True, metadata", "if_none_match=False, metadata"),
        "test_at_once",
    ),
    Mutant(
        "writes_in_turn_overwrite",
        Patch("app/replication/object_replica.py", "if_none_match=True, metadata", "if_none_match=False, metadata"),
        "test_edits_on_two_machines",
    ),
    # --- C: R2's faults
    Mutant(
        "fault_is_an_empty_list",
        Patch(
            PROJECTS,
            LISTED,
            "try:\n        found = await session.read(rows.everything)\n    except Exception:\n        found = []\n"
            "    return ProjectList(projects=[view(row) for row in found])",
        ),
        "test_each_fault",
    ),
    # --- E: browsers
    Mutant("another_origin", Env({"CORS_ORIGINS": "https://elsewhere.example"}), "test_preflights"),
    Mutant(
        "headers_not_allowed", Patch(MAIN, 'allow_headers=["*"]', 'allow_headers=["accept"]'), "test_preflights", "."
    ),
    Mutant("methods_not_allowed", Patch(MAIN, 'allow_methods=["*"]', 'allow_methods=["GET"]'), "test_preflights", "."),
    Mutant(
        "every_origin_allowed",
        Patch(MAIN, "allow_origins=origins", 'allow_origin_regex=".*"'),
        "test_strangers_kept_out",
    ),
    Mutant(
        "only_local_origins",
        Patch(MAIN, "origins = (*LOCAL_ORIGINS, *settings.cors_origins)", "origins = LOCAL_ORIGINS"),
        "test_in_browser",
        ".",
    ),
    Mutant(
        "exceptions_outside_of_cors",
        Patch(MAIN, "        Middleware(UnexpectedErrorMiddleware, show_details=settings.development),\n", ""),
        "test_exception_readable",
    ),
    Mutant(
        "missing_is_500",
        Patch(ROWS, "raise problems.NOT_FOUND.error(f", "raise KeyError(f"),
        "test_refusals_readable",
        "answers 500, not 404",
    ),
    Mutant(
        "invalid_is_500",
        Patch("app/error_handlers.py", "        return _validation_problem(error, path)", "        return {}[path]"),
        "test_nonsense_refused",
        "500",
    ),
    # --- F: uploads
    Mutant(
        "upload_of_any_size_refused_late",
        Patch(
            UPLOADS,
            '        await discard()\n        raise problems.INVALID.error(f"{error}; nothing',
            '        raise problems.INVALID.error(f"{error}; nothing',
        ),
        "test_bad_videos_leave_nothing",
        "stayed in the bucket|called ready",
    ),
    Mutant(
        "upload_signed_for_another_key",
        Patch(
            R2,
            '(url,) = await self._presign("put_object", [{"Bucket": self._bucket, "Key": key, **signed}])',
            '(url,) = await self._presign("put_object", [{"Bucket": self._bucket, "Key": key + ".part", **signed}])',
        ),
        "test_upload_in_browser",
        ".",
    ),
    Mutant(
        "parts_counted_from_zero",
        Patch(R2, "for number, size in enumerate(sizes, 1)]", "for number, size in enumerate(sizes, 2)]"),
        "test_upload_in_parts",
        ".",
    ),
    # --- G: GPU jobs
    Mutant("modal_off", Env({"MODAL_ENABLED": "false"}), "test_export_with_modal"),
    Mutant(
        "export_below_another_name",
        Patch(KEYS, 'return f"{self.prefix}exports/', 'return f"{self.prefix}reels/'),
        "test_keys_under_prefix",
        "no key with /exports/|answered|failed",
    ),
    # --- I: stops
    Mutant(
        "stop_waits_for_ever",
        Patch(LIFE, "await runner.stop(settings.shutdown_seconds)", "await asyncio.sleep(600)"),
        "test_ends_at_its_signal",
    ),
    Mutant(
        "jobs_never_resumed",
        Patch(
            RUNNER,
            "        if self._stopped:\n            return\n        self._seen.add(context)\n",
            "        self._seen.add(context)\n        return\n",
        ),
        "test_job_over_a_kill",
        "is marked as taken",
    ),
    Mutant(
        "failed_upload_acknowledged",
        Patch(SYNC, SETTLED, SETTLED[: SETTLED.index("as error")].rstrip() + ":\n                    pass\n"),
        "test_stop_after_failed_upload",
    ),
    # --- J, K, L, M
    Mutant(
        "status_names_production",
        Patch(HEALTH, "app_env=settings.app_env", 'app_env="production"'),
        "test_status_tells_what_runs",
        "app_env is 'production'",
    ),
    Mutant("endpoint_of_a_laptop", Env({"R2_ENDPOINT": "http://localhost:9"}), "test_status_tells_what_runs"),
    Mutant(
        "migrations_left_out",
        Patch(
            "app/db/schema.py",
            "    for number, name in enumerate(names, 1):",
            "    for number, name in enumerate(names[:1], 1):",
        ),
        "test_old_databases",
        ".",
    ),
    Mutant(
        "key_without_environment",
        Patch(
            KEYS,
            'return f"{self.app_env}/users/{self.context.user_id}/profiles',
            'return f"users/{self.context.user_id}/profiles',
        ),
        "test_keys_under_prefix",
        "is not below staging/",
    ),
    Mutant("environment_of_a_laptop", Env({"APP_ENV": "dev"}), "test_keys_under_prefix"),
    Mutant(
        "unknown_fields_taken",
        Patch(
            "app/profiles/routes.py",
            "class NewProfile(Body):\n",
            "class NewProfile(Body):\n    model_config = {'extra': 'allow'}\n",
        ),
        "test_bad_input_leaves_nothing",
        "unknown field: 201",
    ),
    # --- O, Q, R, S, U, V, W
    Mutant(
        "health_asks_r2",
        Patch(
            HEALTH,
            "async def health() -> Health:\n",
            "async def health(core: CoreDep) -> Health:\n    await core.store.probe()\n",
        ),
        "test_health_in_outage",
    ),
    Mutant(
        "health_is_rate_limited",
        Patch(
            HEALTH,
            "async def health() -> Health:\n",
            "async def health() -> Health:\n    router.tags.append('probe')\n    if len(router.tags) > 40:\n"
            "        raise problems.CONFLICT.error('too many')\n",
        ),
        "test_hour_of_probes",
        ".",
    ),
    Mutant(
        "health_elsewhere",
        Patch(HEALTH, '@router.get("/api/health"', '@router.get("/api/healthz"', starts=False),
        "test_health_check_passes",
        ".",
    ),
    Mutant(
        "boot_takes_half_a_minute",
        Patch(
            MAIN,
            "    settings = settings or load()\n",
            "    settings = settings or load()\n    __import__('time').sleep(30)\n",
            starts=False,
        ),
        "test_boots_in_time",
        ".",
    ),
    Mutant(
        "list_may_be_cached",
        Patch(
            PROJECTS,
            LIST_HEAD,
            LIST_HEAD.replace("session: SessionDep", "session: SessionDep, response: Response")
            + "    response.headers['Cache-Control'] = 'public, max-age=60'\n",
        ),
        "test_not_cacheable",
        ".",
    ),
    Mutant(
        "storage_blocks_the_loop",
        Patch(
            R2,
            "return await self._reads.run(what, self._tries(what, work), self._small, owner(key))",
            "return self._tries(what, work)(1)",
        ),
        "test_loop_is_free",
    ),
    Mutant(
        "names_in_ascii_only",
        Patch(
            PROJECTS,
            "wanted.name, wanted.options",
            "wanted.name.encode('ascii', 'ignore').decode() or '-', wanted.options",
        ),
        "test_any_text",
        ".",
    ),
    Mutant(
        "first_page_for_the_whole",
        Patch(ROWS, 'ORDER BY created_at DESC, rowid DESC")', 'ORDER BY created_at DESC, rowid DESC LIMIT 1000")'),
        "test_many",
        ".",
    ),
    # --- sockets
    Mutant(
        "socket_silent",
        Patch(SOCKETS, "        asyncio.create_task(_watch_rows(events, look, known, only)),\n", ""),
        "test_far_socket",
    ),
    Mutant(
        "socket_without_state",
        Patch(SOCKETS, '        await _send(websocket, event(runner.latest(context, first[0]), "state"))\n', ""),
        "test_export_socket",
        "the first message is no state",
    ),
    Mutant(
        "broken_connection_not_tried_again",
        Patch(
            "app/storage/r2_requests.py",
            'raise TryAgain(f"{what}: {error}") from error',
            'raise StorageUnavailable(f"{what}: {error}") from error',
        ),
        "test_lost_answer",
        "its own upload stopped the write",
    ),
)
