"""``kubectl onezone``: the command line.

Exit codes: 0 done, and for ``status``: every zone shown is healthy. 1 a zone is not healthy, or
what was asked failed. 2 the command was mistyped. 3 something could not be read or written. 4 it
was not done in time. What changes a zone is in ``plugin.acts``.
"""

from __future__ import annotations

import asyncio
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import click
import yaml
from click.shell_completion import ShellComplete

from onezone_operator import naming
from onezone_operator.errors import (
    Forbidden,
    NotFound,
    OperatorError,
)
from onezone_operator.kube import KubeReader
from onezone_operator.models.observed import Manifest
from onezone_operator.plugin import acts, completion, gather, report, view
from onezone_operator.plugin.session import (
    EXIT_UNREAD,
    login_from,
    login_options,
    now,
    output_option,
    rendered,
    run,
)
from onezone_operator.reconcile.forecast import forecast

__all__ = ["complete", "main"]

WATCH_SECONDS = 2.0
_CLEAR = "\x1b[H\x1b[2J"
_HELP = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=_HELP)
@click.version_option(None, "-V", "--version", package_name="onezone-operator")
def main() -> None:
    """Look at OpenNebula zones on Kubernetes, whether the operator runs or not, and act on them.

    Exit codes: 0 done (status: every zone is healthy), 1 a zone is not healthy or what was asked
    failed, 2 mistyped, 3 something could not be read or written, 4 not done within --timeout.
    """


@main.command()
@click.argument("name", required=False, shell_complete=completion.zones)
@click.option("-A", "--all-namespaces", is_flag=True, help="Zones of all namespaces.")
@output_option
@click.option("-w", "--watch", is_flag=True, help="Show it again every two seconds.")
@login_options
def status(
    name: str | None, *, all_namespaces: bool, output: str, watch: bool, **options: Any
) -> None:
    """Servers, leader, diagnosis and next step of a zone, or of all of a namespace."""
    if name is not None and all_namespaces:
        raise click.UsageError("give a NAME or -A, not both")
    login = login_from(options)

    async def once(kube: KubeReader, namespace: str) -> int:
        if name is not None:
            raws = [await gather.read_one(kube, namespace, name)]
        else:
            raws = await kube.list_zones(None if all_namespaces else namespace)
        facts = await gather.gather_all(kube, raws)
        views = [view.build_view(each, now()) for each in facts]
        if not views and output == "table":
            where = "any namespace" if all_namespaces else f"namespace {namespace}"
            click.echo(f"There is no OneZone in {where}.", err=True)
        else:
            text = _rendered(views, output, single=name is not None)
            click.echo((_CLEAR if watch and sys.stdout.isatty() else "") + text)
        return view.exit_code(views)

    async def call() -> int:
        async with login.open() as (kube, namespace):
            code = await once(kube, namespace)
            while watch:
                await asyncio.sleep(WATCH_SECONDS)
                try:
                    code = await once(kube, namespace)
                except OperatorError as error:
                    click.echo(f"error: {error}; trying again", err=True)
                    code = EXIT_UNREAD
            return code

    run(call)


def _rendered(views: list[view.ZoneView], output: str, *, single: bool) -> str:
    if output == "table":
        return view.render_table(views[0]) if single else view.render_zones(views)
    data: Any = [view.as_data(each) for each in views]
    data = data[0] if single else {"items": data}
    return rendered(data, output)


@main.command()
@click.option(
    "-f",
    "--filename",
    "file",
    type=click.File("r", encoding="utf-8"),
    required=True,
    help="OneZone as it shall be; - is standard input.",
)
@output_option
@login_options
def explain(file: Any, *, output: str, **options: Any) -> None:
    """What the operator would do for a changed OneZone, step by step. Nothing is written.

    The API server checks the OneZone and fills in its defaults; the steps are the plan's own, if
    every server comes up as it should.
    """
    wanted = _read_manifest(file)
    login = login_from(options)

    async def call() -> int:
        async with login.open() as (kube, default):
            steps = await _explained(kube, wanted, login.namespace or default)
        if output == "table":
            click.echo(view.render_forecast(steps))
        else:
            click.echo(rendered({"steps": view.forecast_data(steps)}, output))
        return 0

    run(call)


def _read_manifest(file: Any) -> Manifest:
    try:
        data = yaml.safe_load(file)
    except yaml.YAMLError as error:
        raise click.UsageError(f"{file.name} is no YAML: {error}") from error
    if not isinstance(data, dict) or data.get("kind") != naming.KIND:
        raise click.UsageError(f"{file.name} must hold one object of kind {naming.KIND}")
    metadata = data.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise click.UsageError(f"{file.name} has no metadata.name")
    return data


async def _explained(kube: KubeReader, wanted: Manifest, namespace: str) -> Any:
    metadata = {"namespace": namespace, **wanted["metadata"]}
    try:
        live = await kube.get(naming.KIND, metadata["namespace"], metadata["name"])
    except NotFound:
        live = None
    if live is not None:
        metadata["resourceVersion"] = live["metadata"].get("resourceVersion", "")
    checked = await kube.dry_run(
        {"apiVersion": naming.API_VERSION, **wanted, "metadata": metadata}, exists=live is not None
    )
    if live is not None:
        checked = {**checked, "status": live.get("status", {})}
    facts = await gather.gather(kube, checked)
    if facts.unread:
        raise Forbidden(f"the plan needs what you may not read: {', '.join(sorted(facts.unread))}")
    return forecast(facts.zone, facts.observed, now(), address_type=facts.address_type)


@main.command("report")
@click.argument("name", shell_complete=completion.zones)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; onezone-NAME-<time>.zip when absent. An existing one is left alone.",
)
@login_options
def write_report(name: str, *, output: Path | None, **options: Any) -> None:
    """Collect what is needed to understand a zone into a zip, without secrets.

    It holds the OneZone, pods, StatefulSet, Services, EndpointSlices, volume claims, events, the
    servers' /status and logs. Every value of the zone's Secrets is looked for and taken out.
    """
    login = login_from(options)

    async def call() -> int:
        moment = now()
        async with login.open() as (kube, namespace):
            raw = await gather.read_one(kube, namespace, name)
            facts = await gather.gather(kube, raw)
            found = await gather.gather_report(kube, facts.zone)
        files = report.build_files(
            summary=view.render_table(view.build_view(facts, moment)),
            zone=raw,
            objects=found.objects,
            statuses=found.statuses,
            logs=found.logs,
            missing=found.missing,
        )
        cleaned = report.clean(files, report.secret_values(found.secrets))
        path = output or Path(f"onezone-{name}-{moment:%Y%m%dT%H%M%SZ}.zip")
        _write_zip(path, cleaned.files)
        click.echo(f"{path}: {len(cleaned.files)} files")
        click.echo(
            report.proof(cleaned, len(found.secrets), is_blind="Secret" in kube.forbidden), err=True
        )
        return 0

    run(call)


def _write_zip(path: Path, files: dict[str, bytes]) -> None:
    """Whole or not at all, and for its owner alone."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(name, content)
    try:
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(memory.getvalue())
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}; choose another with -o") from error


@main.command()
@click.argument("name", shell_complete=completion.zones)
@click.option(
    "--server",
    help="Number or name of one server; all when absent.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on as the servers log.")
@click.option("-p", "--previous", is_flag=True, help="Of the container that ran before.")
@click.option("--tail", type=click.IntRange(min=0), help="Last lines only.")
@login_options
def logs(
    name: str, *, server: str | None, follow: bool, previous: bool, tail: int | None, **options: Any
) -> None:
    """Logs of a zone's servers, each line with its server when there are several."""
    login = login_from(options)

    async def call() -> int:
        async with login.open() as (kube, namespace):
            await gather.read_one(kube, namespace, name)
            selector = f"{naming.ZONE_LABEL}={name}"
            pods = await kube.list_objects("Pod", namespace, selector=selector)
            names = sorted(each["metadata"]["name"] for each in pods)
            if server is not None:
                wanted = naming.server_name(name, int(server)) if server.isdecimal() else server
                if wanted not in names:
                    have = ", ".join(names) or "none"
                    raise NotFound(f"zone {name} has no pod {wanted}; it has: {have}")
                names = [wanted]

            async def show(pod: str) -> None:
                prefix = f"[{pod}] ".encode() if len(names) > 1 else b""
                stream = kube.stream_log(
                    namespace, pod, follow=follow, tail=tail, previous=previous
                )
                async for line in gather.lines(stream):
                    click.echo(prefix + line)

            return await _all_shown([show(each) for each in names])

    run(call)


async def _all_shown(shown: list[Any]) -> int:
    """Every log to its end; one that cannot be had is told, the others go on."""
    code = 0
    for answer in await asyncio.gather(*shown, return_exceptions=True):
        if isinstance(answer, OperatorError):
            click.echo(f"error: {answer}", err=True)
            code = EXIT_UNREAD
        elif isinstance(answer, BaseException):
            raise answer
    return code


for act in acts.COMMANDS:
    main.add_command(act)


def complete() -> None:
    """``kubectl_complete-onezone``: what kubectl asks when Tab is pressed after its plugin."""
    *words, incomplete = sys.argv[1:] or [""]
    found = ShellComplete(main, {}, "kubectl onezone", "").get_completions(words, incomplete)
    for each in found:
        click.echo(f"{each.value}\t{each.help or ''}".rstrip())
    click.echo(":4")


if __name__ == "__main__":
    main()
