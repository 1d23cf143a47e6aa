"""What the board told while it was timed, on one axis with the timed calls: seconds since the bench began."""

import math

MOST = 500  # readings in a report; of more, every second, third, ... is kept


def trace(readings, zero, loops):
    """Columns for a picture over time.

    Args:
        readings: of `sampler.Sampler`.
        zero: the clock when the bench began.
        loops: [(scope, clock at its start, clock at its end)].

    Returns:
        JSON-able: loops (scope, start_s, end_s); at_s, and as long as it temperatures_c {zone: degrees},
        gpu_mhz, cpu_mhz (the fastest core), input_mw (the whole input), available_mib. A value is None
        where one reading lacks it, a column where all do: that was not read here.
    """
    rows = sorted(readings, key=lambda reading: reading.at)  # two threads may write
    rows = rows[:: int(math.ceil(len(rows) / float(MOST))) or 1]
    zones = sorted({zone for sample in rows for zone in sample.zones_c})
    return {
        "loops": [
            {"scope": scope, "start_s": round(start - zero, 3), "end_s": round(end - zero, 3)}
            for scope, start, end in loops
        ],
        "at_s": [round(sample.at - zero, 3) for sample in rows],
        "temperatures_c": {zone: _column(sample.zones_c.get(zone) for sample in rows) for zone in zones},
        "gpu_mhz": _column(sample.gpu_mhz for sample in rows),
        "cpu_mhz": _column(sample.cpu_mhz for sample in rows),
        "input_mw": _column(sample.input_mw for sample in rows),
        "available_mib": _column(sample.available_mib for sample in rows),
    }


def _column(values):
    rounded = [None if value is None else round(value, 1) for value in values]
    return None if all(value is None for value in rounded) else rounded
