"""The verbs that go to boards as Python functions, with the command line's words.

A board is an SSH host, as in `ssh HOST`. Nothing here asks for a password: `ssh HOST` must work by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from edgedistill.api.runs import plan, recipe, stage
from edgedistill.api.types import DEPLOY_OPTIONS, OWN_OPTIONS, Artifact, DeployOptions, FleetReport, PathLike

if TYPE_CHECKING:
    from edgedistill.deployment.request import Deployment, Source
    from edgedistill.pipeline.plan import Planned
    from edgedistill.progress.reporter import Talk


@overload
def deploy(
    what: PathLike | None = None,
    /,
    *,
    hosts: None = None,
    fleet: None = None,
    dry_run: Literal[False] = False,
    **options: Unpack[DeployOptions],
) -> Artifact: ...


@overload
def deploy(
    what: PathLike | None = None,
    /,
    *,
    hosts: Sequence[str],
    fleet: None = None,
    dry_run: Literal[False] = False,
    on_board: Callable[[dict[str, Any]], None] | None = None,
    **options: Unpack[DeployOptions],
) -> list[dict[str, Any]]: ...


@overload
def deploy(
    what: PathLike | None = None,
    /,
    *,
    hosts: None = None,
    fleet: PathLike,
    dry_run: Literal[False] = False,
    **options: Unpack[DeployOptions],
) -> FleetReport: ...


@overload
def deploy(
    what: PathLike | None = None,
    /,
    *,
    hosts: Sequence[str] | None = None,
    fleet: PathLike | None = None,
    dry_run: bool,
    on_board: Callable[[dict[str, Any]], None] | None = None,
    **options: Unpack[DeployOptions],
) -> Artifact | list[dict[str, Any]] | FleetReport | tuple[Planned, ...]: ...


def deploy(
    what: PathLike | None = None,
    /,
    *,
    hosts: Sequence[str] | None = None,
    fleet: PathLike | None = None,
    dry_run: bool = False,
    on_board: Callable[[dict[str, Any]], None] | None = None,
    **options: Unpack[DeployOptions],
) -> Artifact | list[dict[str, Any]] | FleetReport | tuple[Planned, ...]:
    """A bundle to boards, or the stage `deploy`: `edgedistill deploy`.

    Args:
        what: a recipe, whose bundle is made first where it is not there; a run folder, a bundle
            folder, or a bundle's archive. None: sections as of `stage`, with `run_dir`.
        hosts: the boards, one after the other; the first that refuses ends it.
        fleet: an inventory of boards: canaries first, then waves.
        dry_run: return what the recipe's stages would do, as `plan` does; no board is asked.
        on_board: called with the row of each of `hosts` as soon as it is done.
        options: as of `DeployOptions` and `stage`.

    Returns:
        Of a recipe without `hosts` and `fleet`, the stage's artifact, whose values `hosts` has a row
        for each of `deploy.hosts`. With `hosts`, such a row each: `host`, `id`, `executed`,
        `provenance`, `verify`, `bench`, `activate`, ... With `fleet`, fleet.json: `boards`, a row
        each, with `state` (`done`, `failed`, `waiting`) and `reason`; and `stopped`.

    Raises:
        UsageError: options that do not go together, or no board for a bundle.
        BundleError: no bundle there, or not a signed one.
        SshError: no connection to a board, or one that ended; run it again.
        BoardError: it refused, with its own message.
        InventoryError: a fault in the fleet's file.
    """
    from edgedistill.deployment.request import source_from_stage, source_of
    from edgedistill.errors import UsageError
    from edgedistill.progress.reporter import Talk

    asked = _asked(hosts, fleet, options)
    talk = Talk(options.get("quiet", False), options.get("events"))
    if what is None or Path(what).suffix == ".toml":
        sections: Any = {key: value for key, value in options.items() if key not in DEPLOY_OPTIONS}
        own: Any = {key: value for key, value in options.items() if key in OWN_OPTIONS}
        name = "bundle" if asked.to_boards else "deploy"
        if not asked.to_boards and asked.deploy_keys:
            sections["deploy"] = {**sections.get("deploy", {}), **asked.deploy_keys}
        if dry_run:
            shown = {key: value for key, value in own.items() if key not in ("quiet", "events")}
            return plan(what, only=name, **sections, **shown)
        made = stage(name, what, **sections, **own)
        if not asked.to_boards:
            return made
        wanted = recipe(what, overrides=options.get("overrides", ()), seeds=options.get("seeds"), **sections)
        return _to_boards(asked, source_from_stage(made.path, wanted), talk, on_board)
    if not asked.to_boards:
        raise UsageError(
            f"{what} goes where? Give --host HOST or --fleet boards.toml; in Python, hosts=[...] or fleet='boards.toml'"
        )
    if dry_run:
        raise UsageError(f"--dry-run shows what the stages of a RECIPE.toml would do, got {what}")
    with source_of(Path(what)) as source:
        return _to_boards(asked, source, talk, on_board)


def _to_boards(
    asked: Deployment, source: Source, talk: Talk, on_board: Callable[[dict[str, Any]], None] | None
) -> list[dict[str, Any]] | FleetReport:
    if asked.fleet:
        from edgedistill.reporting.fleet_page import html_from_fleet

        report, folder = asked.through_fleet(source, talk, html_from_fleet)
        return FleetReport(report.to_json(), folder)
    rows = []
    for found in asked.each_host(source, talk):
        row = found.to_json()
        rows.append(row)
        if on_board is not None:
            on_board(row)
    return rows


def _asked(hosts: Sequence[str] | None, fleet: PathLike | None, options: DeployOptions) -> Deployment:
    """
    Raises:
        UsageError: options that do not go together.
    """
    from edgedistill.deployment.request import Deployment

    return Deployment(
        (hosts,) if isinstance(hosts, str) else tuple(hosts or ()),
        _path(fleet),
        options.get("group"),
        options.get("until"),
        options.get("runs"),
        options.get("allow_downgrade", False),
        options.get("tune"),
        options.get("root"),
        options.get("python"),
        _path(options.get("ssh_config")),
    )


def bench(
    what: PathLike | None = None,
    /,
    *,
    compare: tuple[PathLike, PathLike] | None = None,
    host: str | None = None,
    backend: str | None = None,
    precision: str = "fp16",
    runs: int = 200,
    python: str | None = None,
    ssh_config: PathLike | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure a network on a board, or two in turns, without deploying: `edgedistill bench`.

    Args:
        what: an ONNX file, a run folder, or a bundle folder.
        compare: two of them instead.
        host: the board; None is this computer, a stand-in.
        backend: a runtime, such as `tensorrt` or `onnxruntime`; TensorRT on a board and ONNX Runtime here when None.
        precision: asked for a bare ONNX file.
        runs: timed inferences.
        python: interpreter there.
        ssh_config: what `ssh` reads instead of your ~/.ssh/config.

    Returns:
        Of one: `host`, `provenance`, `requested`, `executed`, `verify`, `bench` (the report of
        `edgedistill_device bench`), `samples_ms`. Of two: `a`, `b`, `ratio` by scope with its interval, `rounds`, ...

    Raises:
        UsageError: neither or both of `what` and `compare`.
        BundleError: nothing that can be timed.
        SshError: no connection to the board, or one that ended.
        BoardError: it refused, with its own message.
    """
    from edgedistill.deployment.timing import timed
    from edgedistill.errors import UsageError
    from edgedistill.progress.reporter import Talk

    if (what is None) == (compare is None):
        raise UsageError("expected one WHAT, or --compare A B; in Python, expected one network, or compare=(a, b)")
    networks = [Path(path) for path in compare or [what] if path is not None]
    return timed(networks, host, backend, precision, runs, python, _path(ssh_config), Talk(quiet).say).to_json()


def enrol(
    host: str,
    /,
    *,
    target: str,
    key: str,
    backend: str = "tensorrt",
    root: str = "edgedistill",
    python: str = "python3",
    ssh_config: PathLike | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Install the agent and a public key on a board, or update them: `edgedistill enrol`.

    Args:
        target: what board it is, such as `jetson-nano`.
        key: whose signature it takes, by its name; keys that it has stay. `edgedistill keys new`, or
            `edgedistill.bundles.keys.new_key`, makes one.
        backend: all but `tensorrt` are stand-ins without TensorRT, and reports say so.
        root, python, ssh_config: as of `DeployOptions`.

    Returns:
        `host`, `target`, `backend`, `key`, `key_id`, `agent`, and `doctor`: what it says of itself.

    Raises:
        BoardError: it is enrolled as another board, or refuses a step.
        SshError: the connection ended; run it again.
        SigningError: no such key.
    """
    from edgedistill.bundles.keys import load_key
    from edgedistill.deployment.board import connected
    from edgedistill.deployment.enrol import enrol as enrol_board
    from edgedistill.progress.reporter import Talk

    signer = load_key(key)
    with connected(host, root, python, _path(ssh_config), Talk(quiet).say) as board:
        enrolled = enrol_board(board, target, backend, signer.name, signer.public)
        return {**enrolled.to_json(), "key_id": signer.key_id}


def status(
    host: str,
    /,
    *,
    root: str = "edgedistill",
    python: str = "python3",
    ssh_config: PathLike | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Show which releases a board has and which one it serves: `edgedistill status`.

    Args:
        root, python, ssh_config: as of `DeployOptions`.

    Returns:
        `current` and `previous` (ids, or None), `proven`, `board`, `agent`, and `releases`, a row each.

    Raises:
        BoardError: it is not enrolled, or its answer is not one of edgedistill_device.
        SshError: the connection ended.
    """
    from edgedistill.deployment.board import connected
    from edgedistill.progress.reporter import Talk

    with connected(host, root, python, _path(ssh_config), Talk(quiet).say) as board:
        return board.status().to_json()


def rollback(
    host: str,
    /,
    *,
    leave: str | None = None,
    root: str = "edgedistill",
    python: str = "python3",
    ssh_config: PathLike | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Return a board to its previous release: `edgedistill rollback`.

    Args:
        leave: roll back only if this release is current, so that repeating the call is safe.
        root, python, ssh_config: as of `DeployOptions`.

    Returns:
        `id`, which it serves now, `previous`, and `health`, what its health check found.

    Raises:
        BoardError: it has no previous release, or that one is no longer whole, verified or healthy; the board serves
            what it served before.
        SshError: the connection ended.
    """
    from edgedistill.deployment.board import connected
    from edgedistill.progress.reporter import Talk

    with connected(host, root, python, _path(ssh_config), Talk(quiet).say) as board:
        return board.rollback(leave).to_json()


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)
