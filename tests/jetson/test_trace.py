from edgedistill_device.board import sampler, trace


def test_a_trace_is_thinned_and_says_null_where_nothing_was_read():
    readings = [
        sampler.Reading(0.1 * number, {"cpu": 40.0} if number % 2 else {}, None, 1500.04, None, 900.0)
        for number in range(3 * trace.MOST)
    ]
    found = trace.trace(reversed(readings), 0.0, [("host", 1.0, 2.5)])
    assert found["loops"] == [{"scope": "host", "start_s": 1.0, "end_s": 2.5}]
    assert len(found["at_s"]) == trace.MOST
    assert found["at_s"][:3] == [0.0, 0.3, 0.6]
    assert found["temperatures_c"]["cpu"][:3] == [None, 40.0, None]
    assert found["cpu_mhz"][0] == 1500.0
    assert found["gpu_mhz"] is None
    nothing = trace.trace([], 0.0, [])
    assert (nothing["at_s"], nothing["temperatures_c"], nothing["cpu_mhz"]) == ([], {}, None)
