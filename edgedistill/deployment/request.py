"""The request of `edgedistill deploy`, from the command line or from Python: which bundle, which boards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedistill.bundles.archive import unpack_archive
from edgedistill.config.deployment import DeployConfig
from edgedistill.config.recipe import Recipe
from edgedistill.deployment.board import connected
from edgedistill.deployment.deploy import Wanted, deploy, signed_bundle
from edgedistill.deployment.fleet import roll_out
from edgedistill.deployment.inventory import load_fleet
from edgedistill.errors import BundleError, UsageError
from edgedistill.progress.reporter import Talk
from edgedistill.records.deployment import BoardDeployment, FleetRecord
from edgedistill_device.benchmark import benchreport
from edgedistill_device.errors import BenchError


@dataclass(frozen=True)
class Source:
    """A bundle on this computer.

    Attributes:
        bundle: its folder.
        reports: folder for the boards' answers.
        settings: defaults of the options.
    """

    bundle: Path
    reports: Path
    settings: DeployConfig = DeployConfig()


@dataclass(frozen=True)
class Deployment:
    """The options of `deploy`; without hosts and a fleet it is the recipe's stage.

    Raises:
        UsageError: options that do not go together.
    """

    hosts: tuple[str, ...] = ()
    fleet: Path | None = None
    group: str | None = None
    until: str | None = None
    runs: int | None = None
    allow_downgrade: bool = False
    tune: str | None = None
    root: str | None = None
    python: str | None = None
    ssh_config: Path | None = None

    def __post_init__(self) -> None:
        if self.hosts and self.fleet:
            raise UsageError("--host and --fleet: one of them")
        if self.group and not self.fleet:
            raise UsageError("--group needs --fleet")
        if self.fleet and (self.root or self.python):
            raise UsageError("--root and --python of a fleet's boards stand in its file")
        if self.runs is not None:
            require_runs(self.runs)
        for option, given in (("--allow-downgrade", self.allow_downgrade), ("--tune", self.tune)):
            if given and not self.to_boards:
                raise UsageError(f"{option} is for --host and --fleet")

    @property
    def to_boards(self) -> bool:
        """Whether the options name boards; otherwise the recipe does."""
        return bool(self.hosts or self.fleet)

    @property
    def deploy_keys(self) -> dict[str, Any]:
        """Options that override the recipe's [deploy], for the stage."""
        given = {
            "until": self.until,
            "bench_runs": self.runs,
            "root": self.root,
            "python": self.python,
            "ssh_config": self.ssh_config and str(self.ssh_config.absolute()),
        }
        return {key: value for key, value in given.items() if value is not None}

    def each_host(self, source: Source, talk: Talk) -> Iterator[BoardDeployment]:
        """Deploy to one host after the other.

        Raises:
            EdgeDistillError: what a board refuses; later boards are not touched.
        """
        bundle, settings = signed_bundle(source.bundle), source.settings
        root, python = self.root or settings.root, self.python or settings.python
        for host in self.hosts:
            with connected(host, root, python, self._config(settings), talk.say) as board:
                deployment = deploy(board, bundle, self._wanted(settings), source.reports / f"{host}.json", talk)
            yield deployment

    def through_fleet(self, source: Source, talk: Talk, page: Callable[[FleetRecord], str]) -> tuple[FleetRecord, Path]:
        """Deploy to the boards of the inventory: fleet.json, and the folder that it lies in.

        Args:
            page: gives fleet.html.

        Raises:
            InventoryError: an inventory with a fault, or boards of another target; none was started.
            BundleError: not a whole, signed bundle.
        """
        if self.fleet is None:
            raise ValueError("no inventory was asked for")
        fleet = load_fleet(self.fleet, self.group)
        place = source.reports / (fleet.name if self.group is None else f"{fleet.name}-{self.group}")
        settings = source.settings
        report = roll_out(
            fleet, signed_bundle(source.bundle), self._wanted(settings), place, talk, page, self._config(settings)
        )
        return report, place

    def _wanted(self, settings: DeployConfig) -> Wanted:
        return Wanted(self.until or settings.until, self.runs or settings.bench_runs, self.allow_downgrade, self.tune)

    def _config(self, settings: DeployConfig) -> Path | None:
        return self.ssh_config or (Path(settings.ssh_config) if settings.ssh_config else None)


def require_runs(runs: int) -> None:
    """
    Raises:
        UsageError: a board refuses so few timed inferences or so many; said before anything is sent.
    """
    try:
        benchreport.require_runs(runs)
    except BenchError as error:
        raise UsageError(str(error)) from None


def bundle_in(path: Path) -> Path | None:
    """The bundle of a run folder, or of a bundle's own; None when it is neither."""
    folders = (path / "bundle" / "bundle", path)
    return next((folder for folder in folders if (folder / "manifest.json").is_file()), None)


def source_from_stage(path: Path, recipe: Recipe) -> Source:
    """The bundle that the stage `bundle` left; `path` is its JSON."""
    return Source(path.parent / "bundle", path.parents[1] / "deployments", recipe.deploy)


@contextmanager
def source_of(what: Path) -> Iterator[Source]:
    """The bundle of a run folder, a bundle's own folder, or an archive, unpacked while the block lasts.

    Raises:
        BundleError: none of these.
    """
    bundle = bundle_in(what)
    if bundle is not None:
        yield Source(bundle, Path("deployments") if bundle == what else what / "deployments")
    elif what.is_file():
        with tempfile.TemporaryDirectory(prefix="edgedistill-") as place:
            yield Source(unpack_archive(what, Path(place)), Path("deployments"))
    else:
        raise BundleError(f"{what}: expected a RECIPE.toml, a run folder with a bundle, a bundle folder, or an archive")
