"""Put a student on a board and make the board serve it; if it is slower than wanted, go back.

    python deploy_to_a_board.py RECIPE.toml HOST FPS

The recipe's [deploy] has `sign_key`, and the board was enrolled with that key: docs/deploy.md.
"""

import sys

import edgedistill


def main(recipe: str, host: str, fps: str, **there) -> str:
    """`there` is how to reach the board: `root`, `python`, `ssh_config`."""
    before = edgedistill.status(host, quiet=True, **there)["current"]
    (found,) = edgedistill.deploy(recipe, hosts=[host], quiet=True, **there)
    speed = found["bench"]["fps"]["end_to_end"]
    print(
        f"{host} serves {found['id']}: {speed:.1f} FPS from the image file, {found['executed']} ({found['provenance']})"
    )
    if speed < float(fps) and before not in (None, found["id"]):
        back = edgedistill.rollback(host, leave=found["id"], quiet=True, **there)
        print(f"{fps} FPS were wanted: it serves {back['id']} again")
    return edgedistill.status(host, quiet=True, **there)["current"]


if __name__ == "__main__":
    main(*sys.argv[1:])
