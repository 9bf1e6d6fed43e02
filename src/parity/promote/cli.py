"""The command ``python -m parity.promote TARGET``, which ``deploy/promote.sh`` runs."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import click

from parity.config.errors import ConfigError
from parity.config.flyctl import flyctl_environment
from parity.config.project import Project
from parity.promote import preflight, rehearse, runner, shell
from parity.promote.commands import REGISTRY, Gpu, Promotion
from parity.promote.interrupt import Interrupted, interruptible
from parity.promote.journal import Journal, only_one
from parity.promote.run import Ended, Patience, Run
from parity.report.engine import Engine
from parity.report.identity import Identity, current_identity, hash_tree, local_config_digest, local_image
from parity.report.receipt import Receipt, mismatches, read_receipt

COMMIT_LABEL = "org.opencontainers.image.revision"


@click.command("promote")
@click.argument("target")
@click.option("--dry-run", is_flag=True, help="Print every command and run none.")
@click.option(
    "--receipt",
    type=click.Path(path_type=Path),
    help="The receipt of the checks. Default: receipts/latest.json in the state folder.",
)
@click.option(
    "--allow-skipped",
    multiple=True,
    metavar="ID",
    help="Promote although the check ID was skipped. May be given several times.",
)
@click.option("--bucket-cors", is_flag=True, help="Also apply the bucket's CORS file with the aws CLI, at R2_ENDPOINT.")
@click.option(
    "--rehearse",
    "rehearsing",
    is_flag=True,
    help="Promote good and bad images to the Fly stand-in, and verify how each promotion ends.",
)
@click.option(
    "--consent-no-way-back", is_flag=True, help="Promote although a rollback to the last good release is not possible."
)
@click.option(
    "--wait", "wait_s", default=120.0, show_default=True, help="Seconds to wait for the Machines to become healthy."
)
def promote(
    target: str,
    dry_run: bool,
    receipt: Path | None,
    allow_skipped: tuple[str, ...],
    bucket_cors: bool,
    rehearsing: bool,
    consent_no_way_back: bool,
    wait_s: float,
) -> None:
    """Deploy the image that the receipt names to TARGET of parity.toml, and roll back if that fails.

    Exit code: 0 promoted, 1 nothing changed, 2 rolled back, 3 a person is needed.

    A rehearsal exits with 0 when each of its promotions ended as expected, else with 1. It needs a running compose
    stack and no receipt. It uses `fly` from PATH, or the double of flyctl if there is none.
    """
    try:
        project = Project.load()
        _refuse_unknown_target(project, target)
        if rehearsing and not dry_run:
            raise SystemExit(0 if _rehearse(project, target, wait_s) else 1)
        path = receipt or project.settings.state_dir / "receipts" / "latest.json"
        checked = read_receipt(path)
        # The image is found by its digest, because its tag may name another image by now.
        source = local_image(project.image, checked.identity.image_digest)
        identity = current_identity(project, checked.identity.image_digest if source else None)
        _require_match(path, checked, identity, project.settings.root, allow_skipped)
        environ = dict(os.environ)
        if rehearsing:
            environ |= flyctl_environment(project.settings.admin_url)
        promotion = build(project, target, identity, source, environ, bucket_cors)
        if rehearsing:
            promotion = rehearsal(project, promotion)
            target = "rehearsal"
        state = project.settings.state_dir / "promotions" / target
        run = Run(
            promotion,
            shell.Shell(environ, click.echo),
            Journal.read(state),
            Patience(wait_s),
            list(project.secrets),
            secrets_file(project),
            project.fly,
            no_way_back=consent_no_way_back,
        )
        if dry_run:
            click.echo("\n".join(runner.plan_lines(run)))
            return
        shell.require_tools(("docker", "fly", *(["aws"] if bucket_cors else [])), environ)
        with only_one(state), interruptible(), shell.private_fly_environment(environ, state) as private:
            run.shell = shell.Shell(private, click.echo)
            ended = runner.promote(run)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    except Interrupted as stopped:
        click.echo(f"Interrupted: {stopped.signal}", err=True)
        ended = Ended.NOTHING_CHANGED
    raise SystemExit(int(ended))


def _rehearse(project: Project, target: str, wait_s: float) -> bool:
    """Promote this checkout's image and variants of it to the Fly stand-in. Returns whether all ended as expected."""
    rehearse.require_images(project.settings.admin_url)
    digest = local_config_digest(project.image)
    if not digest:
        raise ConfigError(project.image, "the Docker engine has no such image", fix="make up")
    state = project.settings.state_dir / "promotions" / "rehearsal"
    environ = {**os.environ, **flyctl_environment(project.settings.admin_url)}
    # A rehearsal begins with an app that was never deployed, so the journal of an earlier one is removed.
    shutil.rmtree(state, ignore_errors=True)
    identity = current_identity(project, digest)
    promotion = rehearsal(project, build(project, target, identity, project.image, environ, bucket_cors=False))
    # The app reports the commit of its image, which may be older than the checkout's.
    labels = Engine().image(project.image)["Config"].get("Labels") or {}
    promotion = replace(promotion, commit=str(labels.get(COMMIT_LABEL, "")) or promotion.commit)
    environ, which = rehearse.with_flyctl(environ, state / "bin", Path(__file__).parents[2])
    click.echo(f"flyctl: {which}")
    shell.require_tools(("docker", "fly"), environ)
    secrets = list(project.secrets)
    with _rehearsal_images(project, digest) as images:
        try:
            with only_one(state), interruptible(), shell.private_fly_environment(environ, state) as private:
                own = shell.Shell(private, click.echo)

                def promote_one(one: Promotion) -> Ended:
                    # The app never reports this commit, so wait for a shorter time.
                    hopeless = one.commit == rehearse.OTHER_COMMIT
                    patience = Patience(min(wait_s, rehearse.SICK_WAIT_S) if hopeless else wait_s)
                    return runner.promote(Run(one, own, Journal.read(state), patience, secrets, secrets_file(project)))

                return rehearse.rehearse(promotion, images, own, promote_one)
        finally:
            rehearse.restore(project.settings.admin_url)


@contextmanager
def _rehearsal_images(project: Project, digest: str) -> Iterator[rehearse.Images]:
    """Yield the checkout's image and three variants of it, which are removed afterwards."""
    engine, base = Engine(), project.image
    made: list[str] = []

    def variant(name: str, *lines: str) -> rehearse.Checked:
        tag = f"{base.partition(':')[0]}-rehearsal:{name}"
        engine.build(tag, base, {"/etc/parity-rehearsal": f"{name}\n"}, more=lines)
        made.append(tag)
        return rehearse.Checked(tag, engine.config_digest(tag))

    try:
        yield rehearse.Images(
            rehearse.Checked(base, digest),
            variant("next"),
            variant("sick", "ENTRYPOINT []", 'CMD ["sleep", "3600"]'),
            variant("odd"),
        )
    finally:
        for tag in made:
            engine.remove_image(tag)


def rehearsal(project: Project, promotion: Promotion) -> Promotion:
    """``promotion``, redirected to the Fly stand-in. It deploys no GPU functions and changes no bucket."""
    path = project.parity.app.version.partition("#")[0]
    return replace(
        promotion,
        target="rehearsal",
        version_url=project.settings.api_url + path if path else "",
        ca=project.settings.trust_dir / "ca.pem",
        live=False,
        gpu=None,
        cors_file=None,
    )


def version_url(project: Project, target: str) -> str:
    """The URL at which the deployed app reports its commit; empty if ``app.version`` of parity.toml is not set."""
    path = project.parity.app.version.partition("#")[0]
    return project.parity.targets[target].url.rstrip("/") + path if path else ""


def gpu_of(project: Project) -> Gpu | None:
    """The GPU app, with a hash of its sources as its version; None if there is none."""
    gpu = project.parity.gpu
    if gpu is None:
        return None
    folders = [project.path(folder) for folder in gpu.pythonpath]
    sources = [hash_tree(folder) for folder in (project.path(gpu.entry).parent, *folders)]
    version = hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]
    return Gpu(gpu.app, project.path(gpu.entry), version, os.pathsep.join(map(str, folders)))


def secrets_file(project: Project) -> str:
    """The name of the file with the stand-in values of the secrets, for messages."""
    return project.parity.secrets.file if project.parity.secrets else "parity.toml: secrets.file"


def _refuse_unknown_target(project: Project, target: str) -> None:
    targets = project.parity.targets
    if target not in targets:
        raise ConfigError(
            f"target {target!r}", "parity.toml has no such target", f"one of {', '.join(sorted(targets))}"
        )
    host = urlsplit(targets[target].url).hostname
    if host != project.api_hostname:
        raise ConfigError(
            f"parity.toml: targets.{target}.url",
            f"names {host}, but {project.parity.app.fly_config} deploys {project.fly.app}",
            f"https://{project.api_hostname}",
        )
    problems = preflight.config_problems(project.fly)
    if problems:
        raise ConfigError(project.parity.app.fly_config, "; ".join(problems))


def _require_match(
    path: Path, receipt: Receipt, identity: Identity, root: Path, allow_skipped: tuple[str, ...]
) -> None:
    found = mismatches(receipt, identity, root, allow_skipped=allow_skipped)
    if found:
        raise ConfigError(str(path), "the receipt does not match:\n" + "\n".join(str(item) for item in found))
    click.echo(f"# receipt of {receipt.created_at}: {identity.image_digest}, commit {identity.commit}")


def build(
    project: Project, target: str, identity: Identity, source: str, environ: Mapping[str, str], bucket_cors: bool
) -> Promotion:
    """The promotion of the image that the Docker engine has as ``source``.

    The tag contains commit and digest for readers only; images are compared by digest.
    """
    tag = f"{identity.commit[:12]}-{identity.image_digest.removeprefix('sha256:')[:12]}"
    promotion = Promotion(
        target=target,
        app=project.fly.app,
        config=project.path(project.parity.app.fly_config),
        image=source,
        config_digest=identity.image_digest,
        tag=tag,
        wait_timeout_s=int(project.fly.deploy.wait_timeout_s),
        registry=environ.get("FLY_REGISTRY_HOST") or REGISTRY,
        commit=identity.commit,
        version_url=version_url(project, target),
        version_key=project.parity.app.version.partition("#")[2],
        optional_secrets=tuple(project.parity.secrets.optional) if project.parity.secrets else (),
        knows=tuple(project.parity.promotion.knows),
        way_back=tuple(project.parity.promotion.way_back),
        gpu=gpu_of(project),
    )
    if not bucket_cors:
        return promotion
    if not project.parity.r2.cors:
        raise ConfigError("parity.toml: r2.cors", "no CORS file is named", 'cors = "r2.cors.json"')
    endpoint = environ.get("R2_ENDPOINT", "")
    if not endpoint.startswith("https://"):
        raise ConfigError("R2_ENDPOINT", "is not set", "https://<account>.r2.cloudflarestorage.com", "set it")
    return replace(
        promotion,
        cors_file=project.path(project.parity.r2.cors),
        cors_bucket=project.bucket,
        cors_endpoint=endpoint,
    )
