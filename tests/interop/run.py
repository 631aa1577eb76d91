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
WAYS = [
    ("XX, IK", [], []),
    ("XXpsk3, IKpsk2", ["--psk"], ["--psk"]),
    ("Retry", ["--max-half-open", "3"], ["--retry"]),
    ("10 % loss", [], ["--loss", "0.1"]),
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
    stored = [json.loads(line) for line in stored.splitlines()]
    order = lambda record: (record["lane"], record["sequence"])
    if sorted(sent, key=order) != sorted(stored, key=order):
        wrong = [r for r in sent if r not in stored], [r for r in stored if r not in sent]
        return f"accepted {len(sent)}, stored {len(stored)}; missing and strange:\n{wrong[0][:3]}\n{wrong[1][:3]}"
    print(f"{len(sent)} records, each stored once and unaltered")
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
