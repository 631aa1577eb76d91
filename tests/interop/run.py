#!/usr/bin/env python3
"""Runs device.py against the example backend in each of its ways, and compares record by record.

    run.py UDP_BACKEND        the built example, such as target/debug/examples/udp_backend

Says so and ends well where Python's `cryptography` is missing.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
RESUME = ["--tickets", "--command", "hello"]
WAYS = [
    ("XX, IK", [], []),
    ("XXpsk3, IKpsk2", ["--psk"], ["--psk"]),
    ("Retry", ["--max-half-open", "3"], ["--retry"]),
    ("10 % loss", [], ["--loss", "0.1"]),
    ("tickets, commands, a power cut", RESUME, ["--resume"]),
    ("the same with a psk", [*RESUME, "--psk"], ["--resume", "--psk"]),
    ("the same with 10 % loss", RESUME, ["--resume", "--loss", "0.1"]),
]


def run(backend, backend_options, device_options):
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "provision.json"
        # into files: nobody reads a pipe while the device runs
        stored, log = (open(pathlib.Path(directory) / name, "w+") for name in ("stored", "log"))
        server = subprocess.Popen([backend, "--provision", file, "--seconds", "120", *backend_options],
                                  stdout=stored, stderr=log)
        try:
            while not file.exists() and server.poll() is None:
                time.sleep(0.05)
            device = subprocess.run([sys.executable, HERE / "device.py", file, *device_options], text=True,
                                    capture_output=True, timeout=110)
            if device.returncode:
                return f"the device failed:\n{device.stderr}"
            server.wait(timeout=20)
        finally:
            server.kill()
            stored, log = (file.seek(0) or file.read() for file in (stored, log))
    if server.returncode:
        return f"the backend failed:\n{log}"
    sent = [json.loads(line) for line in device.stdout.splitlines()]
    sent = [record for record in sent if record["kind"] != "refused"]
    lines = [json.loads(line) for line in stored.splitlines()]
    stored, events = [line for line in lines if "lane" in line], [line for line in lines if "event" in line]
    order = lambda record: (record["boot"], record["lane"], record["sequence"])
    if sorted(sent, key=order) != sorted(stored, key=order):
        wrong = [r for r in sent if r not in stored], [r for r in stored if r not in sent]
        return f"accepted {len(sent)}, stored {len(stored)}; missing and strange:\n{wrong[0][:3]}\n{wrong[1][:3]}"
    fault = check_events(events, sent, "--loss" in device_options) if "--resume" in device_options else None
    if fault:
        return f"{fault}\n{events}"
    print(f"{len(sent)} records, each stored once and unaltered")
    return None


def check_events(events, sent, lossy):
    """What the backend tells of a run with --resume."""
    of_kind = lambda kind: [event for event in events if event["event"] == kind]
    outcomes = [event["outcome"] for event in of_kind("command")]
    if len(outcomes) != 8 or not set(outcomes) <= ({"Done", "Unknown"} if lossy else {"Done"}):
        return "8 commands, each done once: not so"
    if any(bytes.fromhex(event["body"]) != b"HELLO" for event in of_kind("result")):
        return "a result with another body"
    if not lossy and len(of_kind("ticket_conflict")) != 1:
        return "one ticket was used twice: not so"
    for boot in (1, 2):  # by each reading the device started at the same time, or earlier by the round trip
        starts = [(event["unix_millis"] - event["device"], event["round_trip"])
                  for event in of_kind("clock") if event["boot"] == boot]
        if not starts or max(start - trip for start, trip in starts) > min(start for start, _ in starts) + 20:
            return f"readings of the clock of boot {boot} contradict each other: {starts}"
    ends = {lane: sum((r["boot"], r["lane"]) == (1, lane) for r in sent) for lane in range(4)}
    closed = {event["of_lane"]: event["end"] for event in of_kind("closed") if event["boot"] == 1}
    if any(event["boot"] != 1 for event in of_kind("closed")) or not lossy and closed != ends:
        return f"closed by the complete Streams frame are {ends}: not so"
    return None


def main():
    try:
        import cryptography  # noqa: F401
    except ImportError:
        print("skipped: Python's `cryptography` is missing")
        return
    import check_vectors
    check_vectors.main()
    for name, backend_options, device_options in WAYS:
        print(f"{name}: ", end="", flush=True)
        fault = run(sys.argv[1], backend_options, device_options)
        if fault:
            raise SystemExit(fault)


if __name__ == "__main__":
    main()
