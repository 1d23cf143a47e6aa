"""Which of two networks is faster, in turns on one machine, and whether that is more than chance.

    python bench_two_models.py A.onnx B.onnx [HOST]

Without HOST it is this computer with ONNX Runtime, a stand-in.
"""

import sys

import edgedistill


def main(first: str, second: str, host: str | None = None, *, runs: int = 200) -> str | None:
    found = edgedistill.bench(compare=(first, second), host=host, runs=runs, quiet=True)
    row = found["ratio"]["host_ms"]
    times = (found[name]["host_ms"]["p50_ms"] for name in ("a", "b"))
    print("{:.3f} ms against {:.3f} ms".format(*times), f"({found['a']['provenance']})")
    print(f"first over second {row['a_over_b']:.3f}, between {row['low']:.3f} and {row['high']:.3f}")
    print({"a": "the first is faster", "b": "the second is faster"}.get(row["faster"], "no difference was seen"))
    return row["faster"]


if __name__ == "__main__":
    main(*sys.argv[1:])
