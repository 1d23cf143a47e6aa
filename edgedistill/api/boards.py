"""The verbs that go to boards as Python functions, with the command line's words.

A board is any word that `ssh` accepts. Nothing here asks for a password: `ssh HOST` must work by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack, overload

from edgedistill.api.runs import recipe, stage
from edgedistill.api.types import DEPLOY_OPTIONS, OWN_OPTIONS, Artifact, DeployOptions, PathLike


@overload
def deploy(
    what: PathLike | None = None, /, *, hosts: None = None, fleet: None = None, **options: Unpack[DeployOptions]
) -> Artifact: ...


@overload
def deploy(
    what: PathLike | None = None,
    /,
    *,
    hosts: Sequence[str],
    fleet: None = None,
    **options: Unpack[DeployOptions],
) -> list[dict[str, Any]]: ...


@overload
def deploy(
    what: PathLike | None = None, /, *, hosts: None = None, fleet: PathLike, **options: Unpack[DeployOptions]
) -> dict[str, Any]: ...


def deploy(
    what: PathLike | None = None,
    /,
    *,
    hosts: Sequence[str] | None = None,
    fleet: PathLike | None = None,
    **options: Unpack[DeployOptions],
) -> Artifact | list[dict[str, Any]] | dict[str, Any]:
    """A bundle to boards, or the stage `deploy`: `edgedistill deploy`.

    Args:
        what: a recipe, whose bundle is made first where it is not there; a run folder, a bundle
            folder, or a bundle's archive. None: sections as of `stage`, with `run_dir`.
        hosts: the boards, one after the other; the first that refuses ends it.
        fleet: an inventory of boards: canaries first, then waves.
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
        BoardError: it refused, in its own words.
        InventoryError: a fault in the fleet's file.
    """
    from edgedistill.deployment.request import Deployment, source_from_stage, source_of
    from edgedistill.errors import UsageError
    from edgedistill.progress.reporter import Talk

    asked = Deployment(
        (hosts,) if isinstance(hosts, str) else tuple(hosts or ()),
        _path(fleet),
        options.get("group"),
        options.get("until"),
        options.get("runs"),
        options.get("allow_downgrade", False),
        options.get("root"),
        options.get("python"),
        _path(options.get("ssh_config")),
    )
    is_recipe = what is None or Path(what).suffix == ".toml"
    talk = Talk(options.get("quiet", False), options.get("events"))

    def to_boards(source: Any) -> list[dict[str, Any]] | dict[str, Any]:
        if asked.fleet:
            return asked.through_fleet(source, talk)[0].to_json()
        return [found.to_json() for found in asked.each_host(source, talk)]

    if is_recipe:
        sections: Any = {key: value for key, value in options.items() if key not in DEPLOY_OPTIONS}
        run: Any = {key: value for key, value in options.items() if key in OWN_OPTIONS}
        if not asked.to_boards:
            sections["deploy"] = {**sections.get("deploy", {}), **asked.deploy_keys}
            return stage("deploy", what, **sections, **run)
        made = stage("bundle", what, **sections, **run)
        return to_boards(source_from_stage(made.path, recipe(what, **sections)))
    if not asked.to_boards:
        raise UsageError(f"{what} goes where? Give hosts=[...] or fleet='boards.toml'")
    assert what is not None
    with source_of(Path(what)) as source:
        return to_boards(source)


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
    """A board's figures for a network, or for two in turns, without deploying: `edgedistill bench`.

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
        Of one: `host`, `provenance`, `requested`, `executed`, `verify`, `bench` (the report of `jetson
        bench`), `samples_ms`. Of two: `a`, `b`, `ratio` by scope with its interval, `rounds`, ...

    Raises:
        UsageError: neither or both of `what` and `compare`.
        BundleError: nothing that can be timed.
        SshError: no connection to the board, or one that ended.
        BoardError: it refused, in its own words.
    """
    from edgedistill.deployment.timing import timed
    from edgedistill.errors import UsageError
    from edgedistill.progress.reporter import Talk

    if (what is None) == (compare is None):
        raise UsageError("expected one network, or compare=(a, b)")
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
    """Put agent and public key on a board, or bring them up to date: `edgedistill enrol`.

    Args:
        target: what board it is, such as `jetson-nano`.
        key: whose signature it takes, by its name; keys that it has stay. `edgedistill keys new`, or
            `edgedistill.bundles.keys.new_key`, makes one.
        backend: all but `tensorrt` are stand-ins without TensorRT, and reports say so.
        root, python, ssh_config: as of `DeployOptions`.

    Returns:
        `host`, `target`, `backend`, `key`, `agent`, and `doctor`: what it says of itself.

    Raises:
        BoardError: it is enrolled as another board, or refuses a step.
        SshError: the connection ended; run it again.
        SigningError: no such key.
    """
    from edgedistill.bundles.keys import load_key
    from edgedistill.deployment.board import connected
    from edgedistill.deployment.enrol import enrol as enrol_board
    from edgedistill.progress.reporter import Talk

    known = load_key(key)
    with connected(host, root, python, _path(ssh_config), Talk(quiet).say) as board:
        return enrol_board(board, target, backend, known.name, known.public).to_json()


def status(
    host: str,
    /,
    *,
    root: str = "edgedistill",
    python: str = "python3",
    ssh_config: PathLike | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """What a board serves, and what it has: `edgedistill status`.

    Args:
        root, python, ssh_config: as of `DeployOptions`.

    Returns:
        `current` and `previous` (ids, or None), `proven`, `board`, `agent`, and `releases`, a row each.

    Raises:
        BoardError: it is not enrolled, or its answer is not of our form.
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
    """Make a board serve again what it served before: `edgedistill rollback`.

    Args:
        leave: only if it serves this one: said twice, it does not go forth again.
        root, python, ssh_config: as of `DeployOptions`.

    Returns:
        `id`, which it serves now, and `previous`.

    Raises:
        BoardError: it has no previous release.
        SshError: the connection ended.
    """
    from edgedistill.deployment.board import connected
    from edgedistill.progress.reporter import Talk

    with connected(host, root, python, _path(ssh_config), Talk(quiet).say) as board:
        return board.rollback(leave).to_json()


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)
