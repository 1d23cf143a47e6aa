"""The child of onnxruntime.py beside it: requests on stdin, replies on stdout, a JSON line and bytes each."""

import json
import os
import sys

import numpy as np
import onnxruntime


def answer(sessions, request, content):
    """(reply, bytes)."""
    if request["call"] == "open":
        options = onnxruntime.SessionOptions()
        options.log_severity_level = request["log"]
        if request["profile"] is not None:
            options.enable_profiling, options.profile_file_prefix = True, request["profile"]
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        sessions.append(session)
        return {
            "session": len(sessions) - 1,
            "inputs": [(value.name, value.shape) for value in session.get_inputs()],
            "outputs": [(value.name, value.shape) for value in session.get_outputs()],
        }, b""
    session = sessions[request["session"]]
    if request["call"] == "end_profiling":
        return {"path": session.end_profiling()}, b""
    batch = np.frombuffer(content, request["dtype"]).reshape(request["shape"])
    (found,) = session.run(request["names"], {request["feed"]: batch})
    return {"dtype": found.dtype.str, "shape": found.shape}, found.tobytes()


def main():
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native code prints is no reply
    sessions = []
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line.decode("ascii"))
        content = sys.stdin.buffer.read(request["bytes"])
        try:
            reply, found = answer(sessions, request, content)
        except Exception as error:  # its exception types differ between releases
            reply, found = {"error": str(error)}, b""
        out.write(json.dumps(dict(reply, bytes=len(found))).encode("ascii") + b"\n" + found)
        out.flush()


main()
