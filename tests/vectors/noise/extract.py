#!/usr/bin/env python3
"""Takes the Noise vectors of the patterns that vitalwire uses out of snow's published files.

    extract.py SNOW_DIRECTORY        the unpacked snow crate; see README.md

Writes one file a pattern beside this script. The fields of a vector are left as they are; `origin` is added.
"""
import json
import pathlib
import sys

PATTERNS = ["XX", "IK", "XXpsk3", "IKpsk2", "NNpsk0"]
SUITE = "25519_ChaChaPoly_BLAKE2s"
FILES = ["cacophony.txt", "snow.txt", "snow-extended.txt"]


def main():
    snow = pathlib.Path(sys.argv[1])
    here = pathlib.Path(__file__).resolve().parent
    found = {pattern: [] for pattern in PATTERNS}
    for name in FILES:
        for vector in json.loads((snow / "tests" / "vectors" / name).read_text())["vectors"]:
            protocol = vector["protocol_name"]
            for pattern in PATTERNS:
                if protocol == f"Noise_{pattern}_{SUITE}":
                    found[pattern].append({"origin": name, **vector})
    for pattern, vectors in found.items():
        assert vectors, pattern
        text = json.dumps({"vectors": vectors}, indent=1)
        (here / f"{pattern}.json").write_text(text + "\n")
        print(pattern, [vector["origin"] for vector in vectors])


main()
