"""Which of the quickstart's cells keep their label."""

import random
from pathlib import Path

from edgedistill.quickstart import LABELLED, image_lists


def test_few_cells_keep_their_label_and_no_cell_is_lost_or_met_twice():
    graded = [(Path(f"/cells/cell{n:04d}.png"), (0.0, 1 / 3, 2 / 3, 1.0)[n % 4]) for n in range(2624)]
    labelled, pool = image_lists(graded)
    grades = {str(path): grade for path, grade in graded}
    assert len(labelled) == LABELLED
    assert sorted([path for path, _ in labelled] + [path for path, in pool]) == sorted(grades)
    assert all(grades[path] == {"functional": 0.0, "defective": 1.0}[label] for path, label in labelled)
    shuffled = graded[:]
    random.Random(1).shuffle(shuffled)
    assert image_lists(shuffled) == (labelled, pool)
    moved = image_lists([(Path("/elsewhere") / path.name, grade) for path, grade in graded])[0]
    assert [Path(path).name for path, _ in moved] == [Path(path).name for path, _ in labelled], "by the name alone"
    # Drawn, not the first of the list: of ten equal parts of it each has about a tenth.
    parts = [sum(int(Path(path).stem[4:]) // 263 == part for path, _ in labelled) for part in range(10)]
    assert min(parts) > LABELLED / 20
