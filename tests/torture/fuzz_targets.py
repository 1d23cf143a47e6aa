"""Everything that reads bytes, once: for the seeded wounds in test_fuzz.py and for guided.py."""

import fuzz_board as board
import fuzz_here as here
import fuzz_machine as machine
import fuzz_said as said

# name -> (folder -> Target, inputs in the three modes; what takes longer gets fewer)
TARGETS = {
    "telemetry": (machine.telemetry_texts, (100, 6000, 15_000)),
    "sensors": (machine.sensors, (60, 2000, 3000)),
    "trtexec": (machine.trtexec_output, (200, 3000, 10_000)),
    "engine layers": (machine.engine_layers, (200, 3000, 10_000)),
    "engine record": (board.engine_record, (100, 3000, 5000)),
    "calibration cache": (board.calibration_cache, (300, 5000, 15_000)),
    "manifest": (board.manifest, (300, 5000, 15_000)),
    "benchmark report": (board.benchmark_report, (300, 5000, 15_000)),
    "bundle archive": (board.bundle_archive, (100, 2000, 4000)),
    "archive of another manifest": (board.archive_of_another_manifest, (60, 1500, 3000)),
    "signature": (board.signatures, (10, 200, 300)),
    "board files": (board.board_files, (20, 500, 1000)),
    "image": (machine.images, (150, 3000, 8000)),
    "behind an image": (machine.behind_the_image, (150, 2000, 5000)),
    "16-bit range": (machine.sixteen_bits, (150, 2000, 5000)),
    "EXIF": (machine.exif, (100, 2000, 5000)),
    "protocol lines": (said.protocol_lines, (100, 2000, 5000)),
    "words of ssh": (said.words_of_ssh, (300, 3000, 10_000)),
    "receipts": (said.receipts, (30, 500, 1000)),
    "fleet": (said.fleet_file, (100, 2000, 4000)),
    "learned reports": (said.learned_reports, (100, 2000, 4000)),
    "compared runs": (said.compared_runs, (15, 200, 300)),
    "recipe": (here.recipe, (100, 2000, 4000)),
    "csv": (here.csv, (150, 3000, 5000)),
    "parquet": (here.parquet, (60, 1000, 3000)),
    "shard": (here.shard, (100, 2000, 4000)),
    "onnx": (here.onnx, (60, 1000, 3000)),
    "safetensors": (here.safetensors, (20, 300, 500)),
    "torch file": (here.torch_file, (10, 200, 300)),
}
