"""A small signed bundle, its archive, and archives that somebody else made of it."""

import bz2
import gzip
import json
import os
import shutil
import subprocess
import tarfile

from bundles import sign
from edgedistill_device.manifest import MAX_BYTES, NAME, SIGNATURE
from keys import new_key

LONG = "/".join(["golden", "x" * 90, "y" * 99])  # longer than the name field of ustar
FILES = {
    "classes.txt": b"red\ngreen\n",
    "empty": b"",
    "golden/labels.json": b"[0, 1]",
    LONG: b"far away",
    "model.onnx": bytes(bytearray(range(256))) * 4,  # a whole number of blocks
    "model_int8.onnx": b"q" * 3000,
}


def signature_of(content, private):
    command = ["openssl", "dgst", "-sha256", "-sign", private]
    return subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout


def make_signed(folder):
    """(bundle's folder, private key, public key): FILES and a signed manifest."""
    bundle = os.path.join(str(folder), "bundle")
    for name, content in FILES.items():
        os.makedirs(os.path.dirname(os.path.join(bundle, name)), exist_ok=True)
        with open(os.path.join(bundle, name), "wb") as file:
            file.write(content)
    sign(bundle)
    private, public = new_key(folder, "ours")
    with open(os.path.join(bundle, NAME), "rb") as file:
        signature = signature_of(file.read(), private)
    with open(os.path.join(bundle, SIGNATURE), "wb") as file:
        file.write(signature)
    return bundle, private, public


def make_root(folder, public):
    """FOLDER/board/root, a board's own, which trusts the key and is of the bundle's target."""
    root = os.path.join(str(folder), "board", "root")
    os.makedirs(os.path.join(root, "trusted.d"))
    shutil.copy(public, os.path.join(root, "trusted.d"))
    with open(os.path.join(root, "board.json"), "w") as file:
        json.dump({"version": 1, "target": "local", "backend": "onnxruntime"}, file)
    return root


def order():
    return [NAME, SIGNATURE] + sorted(FILES)


def by_gnu_tar(bundle):
    """The archive as the system's tar writes it."""
    return subprocess.check_output(
        [
            "tar",
            "-C",
            bundle,
            "--format=ustar",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mode=0644",
            "--mtime=@0",
            "-b",
            "1",
            "-cf",
            "-",
        ]
        + order()
    )


def member(name, content=b"", form=tarfile.USTAR_FORMAT, pax=None, checksum=None, **changes):
    """One member as tarfile writes it: header blocks, content, padding."""
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o644, len(content)
    info.pax_headers = pax or {}
    for key, value in changes.items():
        setattr(info, key, value)
    raw = bytearray(info.tobuf(form, "utf-8"))
    last = len(raw) - 512
    if not info.isdev():
        raw[last + 329 : last + 345] = b"0000000\0" * 2  # as Python 3.6 and GNU tar have it
    raw[last + 148 : last + 156] = b" " * 8
    total = sum(raw[last:]) if checksum is None else checksum
    raw[last + 148 : last + 156] = b"%06o\0 " % total
    return bytes(raw) + content + bytes(-len(content) % 512)


def genuine(bundle):
    """[(name, bytes of the member)], in order."""
    parts = []
    for name in order():
        with open(os.path.join(bundle, name), "rb") as file:
            parts.append((name, member(name, file.read())))
    return parts


def joined(parts, end=bytes(1024)):
    return b"".join(raw for _, raw in parts) + end


def tree(folder):
    """Everything below, with content; not the lock that any verb takes."""
    found = {}
    for place, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(place, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    found[path] = file.read()
            else:
                found[path] = os.path.islink(path)
    for name in ("lock", "incoming"):
        found.pop(os.path.join(folder, "board", "root", name), None)
    return found


def instead(parts, name, *raw):
    """The parts with others in place of `name`."""
    at = [n for n, _ in parts].index(name)
    return parts[:at] + [(name, one) for one in raw] + parts[at + 1 :]


def before(parts, name, *raw):
    at = [n for n, _ in parts].index(name)
    return parts[:at] + [("", one) for one in raw] + parts[at:]


CLASSES, RAW = "classes.txt", FILES["classes.txt"]
GNU, PAX = tarfile.GNU_FORMAT, tarfile.PAX_FORMAT


def with_size_field(raw, field):
    """The header's size as other bytes, checksum mended."""
    block = bytearray(raw)
    block[124:136] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


HOSTILE = {  # name -> parts -> bytes
    "a name that climbs": lambda p: joined(instead(p, CLASSES, member("../classes.txt", RAW))),
    "a name that climbs inside": lambda p: joined(instead(p, CLASSES, member("golden/../../x", RAW))),
    "an absolute name": lambda p: joined(instead(p, CLASSES, member("/classes.txt", RAW))),
    "a name with a dot": lambda p: joined(instead(p, CLASSES, member("./classes.txt", RAW))),
    "a name with two slashes": lambda p: joined(
        instead(p, "golden/labels.json", member("golden//labels.json", b"[0, 1]"))
    ),
    "a name with a backslash": lambda p: joined(instead(p, CLASSES, member("..\\classes.txt", RAW))),
    "a name in another case": lambda p: joined(instead(p, CLASSES, member("CLASSES.TXT", RAW))),
    "a name that is not ASCII": lambda p: joined(instead(p, CLASSES, member("cl\u00e4sses.txt", RAW))),
    "a symbolic link": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, type=tarfile.SYMTYPE, linkname="/etc/passwd"))
    ),
    "a link and then the file through it": lambda p: joined(
        before(p, "golden/labels.json", member("golden", type=tarfile.SYMTYPE, linkname="../.."))
    ),
    "a hard link": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, type=tarfile.LNKTYPE, linkname="manifest.json"))
    ),
    "a character device": lambda p: joined(instead(p, CLASSES, member(CLASSES, type=tarfile.CHRTYPE))),
    "a block device": lambda p: joined(instead(p, CLASSES, member(CLASSES, type=tarfile.BLKTYPE))),
    "a FIFO": lambda p: joined(instead(p, CLASSES, member(CLASSES, type=tarfile.FIFOTYPE))),
    "a folder": lambda p: joined(before(p, CLASSES, member("golden", type=tarfile.DIRTYPE))),
    "a sparse file": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, GNU, type=tarfile.GNUTYPE_SPARSE))),
    "a contiguous file": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, type=tarfile.CONTTYPE))),
    "an old file type": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, type=tarfile.AREGTYPE))),
    "GNU's magic": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, GNU))),
    "GNU's long name": lambda p: joined(instead(p, LONG, member(LONG, FILES[LONG], GNU))),
    "a pax header that renames": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, RAW, PAX, pax={"path": "../evil"}))
    ),
    "a pax header that resizes": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, RAW, PAX, pax={"size": "99999999999"}))
    ),
    "a pax header of a GNU sparse file": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, RAW, PAX, pax={"GNU.sparse.realsize": "1" + "0" * 12}))
    ),
    "a global pax header": lambda p: tarfile.TarInfo.create_pax_global_header({"path": "evil"}) + joined(p),
    "a member twice": lambda p: joined(before(p, CLASSES, dict(p)[CLASSES])),
    "a member twice, the second altered": lambda p: joined(
        instead(p, CLASSES, dict(p)[CLASSES], member(CLASSES, b"RED\nGREEN\n"))
    ),
    "another order": lambda p: joined(p[:2] + p[:1:-1]),
    "a member less": lambda p: joined(instead(p, CLASSES)),
    "the last member less": lambda p: joined(p[:-1]),
    "a member more": lambda p: joined(p + [("", member("evil.py", b"import os"))]),
    "a member more, first": lambda p: joined([("", member("evil.py", b"import os"))] + p),
    "a manifest more": lambda p: joined(p + p[:1]),
    "more bytes than listed": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW + b"x"))),
    "fewer bytes than listed": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW[:-1]))),
    "other bytes": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW.upper()))),
    "a size in base 256": lambda p: joined(
        instead(p, CLASSES, with_size_field(dict(p)[CLASSES], b"\x80" + bytes(10) + b"\x0a"))
    ),
    "a negative size": lambda p: joined(instead(p, CLASSES, with_size_field(dict(p)[CLASSES], b"\xff" * 12))),
    "a manifest of negative size": lambda p: joined(instead(p, NAME, with_size_field(dict(p)[NAME], b"\xff" * 12))),
    "a manifest size with spaces": lambda p: joined(
        instead(p, NAME, with_size_field(dict(p)[NAME], b"%11o\0" % (len(dict(p)[NAME]) - 512)))
    ),
    "a manifest that says 8 GiB": lambda p: joined(instead(p, NAME, with_size_field(dict(p)[NAME], b"77777777777\0"))),
    "a giant manifest": lambda p: joined(instead(p, NAME, member(NAME, b" " * (MAX_BYTES + 1)))),
    "a giant signature": lambda p: joined(instead(p, SIGNATURE, member(SIGNATURE, bytes(257)))),
    "an empty signature": lambda p: joined(instead(p, SIGNATURE, member(SIGNATURE, b""))),
    "no signature": lambda p: joined(instead(p, SIGNATURE)),
    "the signature first": lambda p: joined([p[1], p[0]] + p[2:]),
    "the manifest last": lambda p: joined(p[1:] + p[:1]),
    "a manifest with a byte more": lambda p: joined(
        instead(p, NAME, member(NAME, dict(p)[NAME][512:].rstrip(b"\0") + b"\n"))
    ),
    "a set-uid file": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, mode=0o4755))),
    "an owner": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, uid=1000))),
    "an owner's name": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, uname="root"))),
    "a time": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, mtime=1))),
    "a wrong checksum": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, checksum=1))),
    "bytes hidden in the padding": lambda p: joined(instead(p, CLASSES, dict(p)[CLASSES][:-4] + b"evil")),
    "bytes hidden in the header": lambda p: joined(
        instead(p, CLASSES, dict(p)[CLASSES][:508] + b"evil" + dict(p)[CLASSES][512:])
    ),
    "bytes after the end": lambda p: joined(p) + b"x",
    "zeros after the end": lambda p: joined(p) + bytes(512),
    "a second archive after it": lambda p: joined(p) * 2,
    "one zero block, not two": lambda p: joined(p, bytes(512)),
    "no end": lambda p: joined(p, b""),
    "an end that is none": lambda p: joined(p, b"x" * 1024),
    "cut in a file": lambda p: joined(p)[: -1024 - 1500],
    "cut in a header": lambda p: joined(p)[:700],
    "nothing": lambda p: b"",
    "zeros": lambda p: bytes(4096),
    "text": lambda p: b"#!/bin/sh\nreboot\n" * 100,
    "gzip": lambda p: gzip.compress(joined(p)),
    "a gzip bomb": lambda p: gzip.compress(bytes(1 << 24)),
    "bzip2": lambda p: bz2.compress(joined(p)),
    "a tar in a tar": lambda p: joined([("", member("bundle.tar", joined(p)))]),
}


def mutated(raw, rng):
    """One seeded injury: flipped, cut out, put in, swapped, cut off."""
    at, kind = rng.randrange(len(raw)), rng.randrange(6)
    if kind == 0:
        return raw[:at] + bytes(bytearray([raw[at] ^ 1 << rng.randrange(8)])) + raw[at + 1 :]
    if kind == 1:
        return raw[:at]
    if kind == 2:
        return raw[:at] + bytes(bytearray(rng.randrange(256) for _ in range(rng.randrange(1, 600)))) + raw[at:]
    if kind == 3:
        return raw[:at] + raw[at + rng.choice((1, 2, 511, 512, 1024)) :]
    block, other = 512 * rng.randrange(len(raw) // 512), 512 * rng.randrange(len(raw) // 512)
    if kind == 4:  # a block in another's place
        return raw[:block] + raw[other : other + 512] + raw[block + 512 :]
    return raw[:block] + raw[other : other + 512] + raw[block:]  # a block twice
