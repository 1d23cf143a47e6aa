"""The files below a folder: which are images, and which are left out and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgedistill.errors import DataError

# What OpenCV decodes on the workstation; an older one says of .gif and .avif that it cannot.
_DECODED = """.jpg .jpeg .jpe .jfif .jif .mpo .png .apng .bmp .dib .tif .tiff .webp .gif .avif .avifs
.jp2 .j2k .pgm .ppm .pbm .pnm"""
IMAGE_SUFFIXES = frozenset(_DECODED.split())

TABLE_SUFFIXES = frozenset([".csv", ".tsv", ".parquet"])

# Pictures that OpenCV does not decode, and what to do about them.
_PICTURES = {
    "HEIC, convert to JPEG or PNG": ".heic .heif .hif",
    "DICOM, export to 16-bit PNG": ".dcm .dicom .ima",
    "camera raw, develop to JPEG or TIFF": ".cr2 .cr3 .nef .arw .dng .raf .orf .rw2 .raw",
    "video, extract its frames": ".mp4 .avi .mov .mkv .webm .mpg .mpeg .m4v",
    "not decoded here, convert to PNG": ".jxl .tga .svg .psd .pdf .exr .hdr .ico .npy .npz .mat .nii .eps .fits",
}
_CURES = {suffix: cure for cure, suffixes in _PICTURES.items() for suffix in suffixes.split()}

_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "ehthumbs.db"}
_SYSTEM_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "__pycache__", "lost+found"}


@dataclass
class Walk:
    """What is below a folder.

    Attributes:
        images: absolute paths in order.
        left_out: `.heic (HEIC, convert to JPEG or PNG)` -> how many.
        pictures: how many of those are pictures that cannot be decoded here.
    """

    images: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    pictures: int = 0

    def add(self, folder: str, name: str) -> None:
        suffix = os.path.splitext(name)[1].lower()
        if is_system(name):
            self.left_out["hidden or system files"] += 1
        elif suffix in IMAGE_SUFFIXES:
            self.images.append(Path(folder, name))
        elif suffix in _CURES:
            self.left_out[f"{suffix} ({_CURES[suffix]})"] += 1
            self.pictures += 1
        elif suffix:
            self.left_out[f"{suffix} (no image ending)"] += 1
        else:
            self.left_out["files without an ending (images need one, like .jpg)"] += 1


def walk(folder: Path) -> Walk:
    """Files at any depth. Links to folders are not followed, so they cannot loop; they are counted.

    Raises:
        DataError: as `folders_below`.
    """
    listing = Walk()
    for place, folders, files in folders_below(os.path.abspath(folder)):
        visited = []
        for name in sorted(folders):
            if os.path.islink(os.path.join(place, name)):
                listing.left_out["linked folders (links are not followed)"] += 1
            elif is_system(name):
                listing.left_out["hidden or system folders"] += 1
            else:
                visited.append(name)
        folders[:] = visited
        for name in sorted(files):
            listing.add(place, name)
    return listing


def folders_below(folder: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, which leaves out without a word what it may not read.

    Raises:
        DataError: a folder that cannot be listed.
    """
    return os.walk(folder, onerror=_refuse_unlisted)


def _refuse_unlisted(error: OSError) -> None:
    cure = f"; make it readable (chmod -R u+rX {error.filename}) or move it away"
    raise DataError(f"{error.filename}: {error.strerror}{cure if isinstance(error, PermissionError) else ''}")


def files_in(folder: Path) -> Walk:
    """The same of the folder itself, not of those below."""
    listing = Walk()
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir():
            listing.add(os.path.abspath(folder), entry.name)
    return listing


def is_system(name: str) -> bool:
    """Hidden, an AppleDouble `._x.jpg`, or written by an operating system."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES | _SYSTEM_FOLDERS


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, in order, links to folders among them."""
    with os.scandir(folder) as entries:  # which knows folders without asking for each file
        return sorted(Path(entry.path) for entry in entries if _is_folder(entry) and not is_system(entry.name))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def has_images(folder: Path) -> bool:
    """Whether an image is below, at any depth."""
    return next(_images(folder), None) is not None


def has_data(folder: Path) -> bool:
    """Whether images, tables or shards are below, at any depth."""
    return has_images(folder) or any(
        Path(name).suffix.lower() in TABLE_SUFFIXES | {".tar"} and not is_system(name)
        for _, _, files in folders_below(folder)
        for name in files
    )


def has_own_images(folder: Path) -> bool:
    """Whether an image is in the folder itself."""
    return any(_is_image(entry.name) and not entry.is_dir() for entry in folder.iterdir())


def tables_in(folder: Path) -> list[Path]:
    """CSV, TSV and parquet files in the folder itself."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in TABLE_SUFFIXES and not is_system(entry.name) and entry.is_file()
    )


def data_files(folder: Path) -> list[Path]:
    """Tables and shards in the folder itself."""
    shards = [entry for entry in folder.iterdir() if entry.suffix == ".tar" and entry.is_file()]
    return sorted([*tables_in(folder), *shards])


def pattern_of(files: list[Path]) -> str:
    """One source that names some files of a folder: the file itself, or `part-{00,01}.tar`."""
    names = [str(file) for file in files]
    if len(names) == 1:
        return names[0]
    start = os.path.commonprefix(names)
    end = os.path.commonprefix([name[len(start) :][::-1] for name in names])[::-1]
    middles = [name[len(start) : len(name) - len(end)] for name in names]
    return f"{start}{{{','.join(middles)}}}{end}"


def line_from_left_out(left_out: Counter[str] | dict[str, int]) -> str | None:
    """One line that counts what was left out, the most first; None when nothing was."""
    if not left_out:
        return None
    return f"left out: {counts_from_left_out(left_out)}"


def counts_from_left_out(left_out: Counter[str] | dict[str, int]) -> str:
    """The counts alone, the most first; "" when nothing was left out."""
    most_first = sorted(left_out.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count} {what}" for what, count in most_first)


def _images(folder: Path) -> Iterator[str]:
    for _, folders, files in folders_below(folder):
        folders[:] = [name for name in folders if not is_system(name)]
        yield from filter(_is_image, files)


def _is_image(name: str) -> bool:
    return not is_system(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
