"""Key pairs and signatures by the real openssl."""

import os
import subprocess


def openssl(*arguments):
    subprocess.check_call(("openssl",) + arguments, stderr=subprocess.DEVNULL)


def new_key(folder, name, curve="P-256"):
    """(private, public) PEM files."""
    private = os.path.join(str(folder), name + ".key")
    public = os.path.join(str(folder), name + ".pem")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + curve, "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    return private, public


def sign_manifest(bundle, private):
    manifest = os.path.join(str(bundle), "manifest.json")
    openssl("dgst", "-sha256", "-sign", private, "-out", manifest + ".sig", manifest)
