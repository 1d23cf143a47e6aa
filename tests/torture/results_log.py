"""The table at the end: what was tried, how often, what was lost."""

HEAD = ("subject", "what was tried", "times", "lost")


def table(rows):
    """Lines of a table with a sum; rows of one subject and deed are added up."""
    sums = {}
    for subject, what, times, lost in rows:
        before = sums.get((subject, what), (0, 0))
        sums[subject, what] = before[0] + times, before[1] + lost
    body = [
        (subject, what, f"{times:,}", f"{lost:,}" if lost else "nothing")
        for (subject, what), (times, lost) in sorted(sums.items())
    ]
    times, lost = (sum(pair[n] for pair in sums.values()) for n in (0, 1))
    body.append(("all", "", f"{times:,}", f"{lost:,}" if lost else "nothing"))
    widths = [max(len(cells[n]) for cells in [HEAD, *body]) for n in range(4)]
    return [
        "  ".join(
            (cells[0].ljust(widths[0]), cells[1].ljust(widths[1]), cells[2].rjust(widths[2]), cells[3].rjust(widths[3]))
        )
        for cells in [HEAD, *body]
    ]
