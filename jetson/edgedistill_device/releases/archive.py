"""A bundle as one file: a plain tar, of which every byte follows from the signed manifest.

manifest.json, manifest.json.sig, then the listed files in order of their names: each a ustar header
(POSIX.1-1988) with mode 0644, owner 0 and time 0, the content, zeros to a multiple of 512; at the end
1024 zeros. GNU tar makes the same bytes (docs/bundle.md). So a bundle has exactly one archive, and
the reader interprets none: it computes the header that must come next and compares. Links, devices,
sparse files, extended headers, doubles and other names are bytes that differ. It is not compressed,
so nothing in it can grow.
"""

import hashlib
import os

from edgedistill_device.errors import ManifestError
from edgedistill_device.manifest import MAX_BYTES, NAME, SIGNATURE
from edgedistill_device.releases.signature import MAX_SIGNATURE_BYTES

SUFFIX = ".edb.tar"
BLOCK = 512
END = bytes(2 * BLOCK)
_PIECE = 1 << 20
_MOST_NAME, _MOST_PREFIX = 100, 155


def header(name, size):
    """The 512 bytes before a member.

    Args:
        name: ASCII, "/" between folders.
        size: bytes of its content.

    Raises:
        ManifestError: ustar has no room for the name.
    """
    prefix, short = _split(name)
    fields = (
        (short.encode("ascii"), _MOST_NAME),
        (b"0000644", 8),
        (b"0000000", 8),
        (b"0000000", 8),
        (b"%011o" % size, 12),
        (b"00000000000", 12),
        (b" " * 8, 8),
        (b"0", 1),
        (b"", 100),
        (b"ustar\x0000", 8),
        (b"", 32),
        (b"", 32),
        (b"0000000", 8),
        (b"0000000", 8),
        (prefix.encode("ascii"), 155),
    )
    block = b"".join(value.ljust(width, b"\0") for value, width in fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size):
    """Zeros after a content of `size` bytes."""
    return bytes(-size % BLOCK)


def head_of(source):
    """(bytes of the manifest, bytes of the signature), which nobody has looked at yet.

    Raises:
        ManifestError: other members come first, or they are larger than the limit.
    """
    return tuple(
        _small_member(source, name, limit) for name, limit in ((NAME, MAX_BYTES), (SIGNATURE, MAX_SIGNATURE_BYTES))
    )


def extract(source, manifest, folder):
    """The files after the head, into a folder that nobody else writes to; then the end.

    Raises:
        ManifestError: the first byte that is not what the manifest makes it.
        OSError: the disk refuses.
    """
    for name, entry in sorted(manifest.files.items()):
        if source.take(BLOCK, name) != header(name, entry.bytes):
            raise ManifestError("archive: another member comes where %s (%d bytes) must; refused" % (name, entry.bytes))
        digest, left = hashlib.sha256(), entry.bytes
        with new_file(folder, name) as to:
            while left:
                piece = source.take(min(left, _PIECE), name)
                digest.update(piece)
                to.write(piece)
                left -= len(piece)
        source.expect(padding(entry.bytes), name)
        if digest.hexdigest() != entry.sha256:
            raise ManifestError(
                "archive: %s has sha256 %s..., manifest says %s...; copy the archive again"
                % (name, digest.hexdigest()[:12], entry.sha256[:12])
            )
    source.expect(END, "its end")
    source.expect_nothing()


class Source(object):
    """A stream that is read by exact counts."""

    def __init__(self, file):
        self._file = file

    def take(self, count, what):
        """`count` bytes.

        Raises:
            ManifestError: the stream ends before, or cannot be read.
        """
        pieces, left = [], count
        while left:
            piece = self._read(left)
            if not piece:
                raise ManifestError("archive: it ends in the middle of %s; copy it again" % (what,))
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def expect(self, content, what):
        """Raises ManifestError unless these bytes come."""
        if self.take(len(content), what) != content:
            raise ManifestError("archive: unexpected bytes after %s; refused" % (what,))

    def expect_nothing(self):
        """Raises ManifestError unless the stream ends here."""
        if self._read(1):
            raise ManifestError("archive: bytes after its end; refused")

    def _read(self, count):
        try:
            return self._file.read(count)
        except (IOError, OSError) as error:
            raise ManifestError("archive: cannot be read: %s" % (error.strerror,))


def _small_member(source, name, limit):
    block = source.take(BLOCK, name)
    digits = block[124:135]
    size = int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else -1
    if not 0 <= size <= limit or block != header(name, size):
        raise ManifestError(
            "archive: expected a tar that begins with %s and %s, not compressed; this is another "
            "file, or its %s is over %d bytes" % (NAME, SIGNATURE, name, limit)
        )
    content = source.take(size, name)
    source.expect(padding(size), name)
    return content


def _split(name):
    """(prefix, name) of ustar: one of at most 100 bytes whole, a longer one cut at the first "/" that will do."""
    if len(name) <= _MOST_NAME:
        return "", name
    for at, character in enumerate(name):
        if character == "/" and at <= _MOST_PREFIX and len(name) - at - 1 <= _MOST_NAME:
            return name[:at], name[at + 1 :]
    raise ManifestError("%.80r...: too long a name for an archive" % (name,))


def new_file(folder, name):
    """A file that was not there, open for writing; its folders are made."""
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o644), "wb")
