"""Deployed apps, functions, classes, mounts and secrets. In memory, written through to the database."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from modal_proto import api_pb2 as pb

from parity.modal.definitions import function_metadata, with_options
from parity.modal.identifiers import stable_id


@dataclass
class Function:
    """A function or a class's service function; the last three are set on one bound to parameters or options."""

    id: str
    app_id: str
    tag: str
    definition: pb.Function
    base_id: str = ""
    params: bytes = b""
    options: pb.FunctionOptions = field(default_factory=pb.FunctionOptions)

    @property
    def metadata(self) -> pb.FunctionHandleMetadata:
        return function_metadata(self.definition, self.app_id, self.base_id or self.id)


@dataclass
class App:
    """A deployed app; ``function_ids`` and ``class_ids`` are its published layout, by tag."""

    id: str
    name: str
    deployed_at: float = 0.0
    function_ids: dict[str, str] = field(default_factory=dict)
    class_ids: dict[str, str] = field(default_factory=dict)


class Registry:
    """The results of all deploys."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.apps: dict[str, App] = {}
        self.functions: dict[str, Function] = {}
        self._staged: dict[str, Function] = {}
        self._load()

    # Apps

    def app_named(self, name: str) -> App | None:
        """The app deployed under this name, if its first deploy was published."""
        return next((app for app in self.apps.values() if app.name == name and app.deployed_at), None)

    def create_app(self, name: str) -> App:
        """The app of that name; its id follows from the name."""
        app_id = stable_id("ap", name)
        return self.apps.setdefault(app_id, App(app_id, name))

    def publish(self, app: App, function_ids: dict[str, str], class_ids: dict[str, str]) -> list[Function]:
        """Make what was created since the last deploy live; returns the functions whose definition changed."""
        with self._transaction():
            changed = self._publish_functions(function_ids)
            app.function_ids, app.class_ids, app.deployed_at = dict(function_ids), dict(class_ids), time.time()
            live = set(function_ids.values())
            gone = [f for f in self.functions.values() if f.app_id == app.id and (f.base_id or f.id) not in live]
            for function in gone:
                del self.functions[function.id]
                self._database.execute("DELETE FROM function WHERE id = ?", (function.id,))
            self._database.execute("DELETE FROM class WHERE app_id = ?", (app.id,))
            rows = [(class_id, app.id, tag) for tag, class_id in class_ids.items()]
            self._database.executemany("INSERT OR REPLACE INTO class VALUES (?, ?, ?)", rows)
            self._database.execute("INSERT OR REPLACE INTO app VALUES (?, ?, ?)", (app.id, app.name, app.deployed_at))
        return changed + gone

    def _publish_functions(self, function_ids: dict[str, str]) -> list[Function]:
        changed = []
        for tag, function_id in function_ids.items():
            staged = self._staged.pop(function_id, None)
            if staged is None:
                continue
            staged.tag = tag
            before = self.functions.get(function_id)
            if before is None or before.definition != staged.definition:
                changed.append(staged)
            self._save_function(staged)
        # A class bound to parameters shares its base's definition: rebind it to the new one.
        bases = {function.id for function in changed}
        for function in [each for each in self.functions.values() if each.base_id in bases]:
            function.definition = with_options(self.functions[function.base_id].definition, function.options)
            self._save_function(function)
            changed.append(function)
        return changed

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def layout(self, app: App) -> pb.AppLayout:
        """The published objects and every object they depend on: a container dies with a KeyError for one missing."""
        objects = {}
        for tag, function_id in app.function_ids.items():
            function = self.functions[function_id]
            objects[function_id] = pb.Object(object_id=function_id, function_handle_metadata=function.metadata)
            class_id = app.class_ids.get(tag.removesuffix(".*")) if tag.endswith(".*") else None
            if class_id:
                metadata = pb.ClassHandleMetadata(class_function_id=function_id)
                objects[class_id] = pb.Object(object_id=class_id, class_handle_metadata=metadata)
        for function_id in app.function_ids.values():
            for dependency in self.functions[function_id].definition.object_dependencies:
                objects.setdefault(dependency.object_id, self._dependency(dependency.object_id))
        return pb.AppLayout(objects=list(objects.values()), function_ids=app.function_ids, class_ids=app.class_ids)

    # Functions

    def stage(self, function: Function) -> None:
        """Hold a function until its app is published, so that a deploy which fails half-way changes nothing."""
        self._staged[function.id] = function

    def unstage(self, app_id: str) -> None:
        """Drop what a deploy of this app created and did not publish."""
        self._staged = {key: function for key, function in self._staged.items() if function.app_id != app_id}

    def find(self, app_name: str, tag: str) -> Function | None:
        """The deployed function of that app and tag."""
        app = self.app_named(app_name)
        return self.functions.get(app.function_ids.get(tag, "")) if app else None

    def bind(self, base: Function, params: bytes, options: pb.FunctionOptions) -> Function:
        """The function with these parameters and options: an id of its own, the same for the same ones.

        Raises ValueError for options that are not served.
        """
        bound_id = stable_id("fu", base.id, params, options.SerializeToString(deterministic=True))
        definition = with_options(base.definition, options)
        function = Function(bound_id, base.app_id, base.tag, definition, base.id, params, options)
        self._save_function(function)
        return function

    def _save_function(self, function: Function) -> None:
        self.functions[function.id] = function
        self._database.execute(
            "INSERT OR REPLACE INTO function VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                function.id,
                function.app_id,
                function.tag,
                function.base_id,
                function.params,
                function.options.SerializeToString(),
                function.definition.SerializeToString(),
            ),
        )

    # Mounts and secrets

    def save_mount(self, mount_id: str, files: Iterable[pb.MountFile]) -> None:
        """Remember which files, by hash, a mount puts where."""
        data = pb.MountGetOrCreateRequest(files=files).SerializeToString()
        self._database.execute("INSERT OR REPLACE INTO mount VALUES (?, ?)", (mount_id, data))

    def mount(self, mount_id: str) -> list[pb.MountFile]:
        """Files of a mount. Raises KeyError for one that was never created."""
        row = self._database.execute("SELECT files FROM mount WHERE id = ?", (mount_id,)).fetchone()
        if row is None:
            raise KeyError(mount_id)
        return list(pb.MountGetOrCreateRequest.FromString(row[0]).files)

    def save_secret(self, secret_id: str, name: str, variables: dict[str, str]) -> None:
        """Remember a secret's variables."""
        data = json.dumps(variables).encode()
        self._database.execute("INSERT OR REPLACE INTO secret VALUES (?, ?, ?)", (secret_id, name, data))

    def secret(self, secret_id: str) -> dict[str, str]:
        """Variables of a secret. Raises KeyError for one that was never created."""
        row = self._database.execute("SELECT variables FROM secret WHERE id = ?", (secret_id,)).fetchone()
        if row is None:
            raise KeyError(secret_id)
        return {str(name): str(value) for name, value in json.loads(row[0]).items()}

    # Start-up

    def _load(self) -> None:
        for app_id, name, deployed_at in self._database.execute("SELECT id, name, deployed_at FROM app"):
            self.apps[app_id] = App(app_id, name, deployed_at)
        rows = self._database.execute("SELECT id, app_id, tag, base_id, params, options, definition FROM function")
        for function_id, app_id, tag, base_id, params, options, definition in rows:
            function = Function(
                function_id,
                app_id,
                tag,
                pb.Function.FromString(definition),
                base_id,
                params,
                pb.FunctionOptions.FromString(options),
            )
            self.functions[function_id] = function
            if not base_id:
                self.apps[app_id].function_ids[tag] = function_id
        for class_id, app_id, tag in self._database.execute("SELECT id, app_id, tag FROM class"):
            self.apps[app_id].class_ids[tag] = class_id

    def _dependency(self, object_id: str) -> pb.Object:
        if object_id.startswith("fu-") and object_id in self.functions:
            return pb.Object(object_id=object_id, function_handle_metadata=self.functions[object_id].metadata)
        return pb.Object(object_id=object_id)
