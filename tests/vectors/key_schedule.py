#!/usr/bin/env python3
"""Writes key_schedule.json: SPEC.md, "Key schedule", from Python's own BLAKE2s and HMAC, without this crate."""
import hashlib
import hmac
import json
import pathlib


def extract(salt, ikm):
    return hmac.new(salt, ikm, hashlib.blake2s).digest()


def expand(prk, info, length):
    out = block = b""
    counter = 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.blake2s).digest()
        out += block
        counter += 1
    return out[:length]


def derive(prk, label, context=b""):
    return expand(prk, b"vitalwire/1 " + label + context, 32)


def epoch(chain):
    return {name: derive(chain, label).hex() for name, label in
            [("device_to_backend", b"d2b"), ("backend_to_device", b"b2d"), ("resume", b"resume"), ("next", b"next")]}


h = bytes(range(32))
split = bytes(range(0x40, 0x80))
c0 = extract(h, split)
exporter = derive(c0, b"exporter")
# RFC 7748, section 6.1
device_secret = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
backend_secret = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
device_public = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
backend_public = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
shared = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
c1 = derive(c0, b"next")
n1 = derive(c1, b"next")
c2 = extract(n1, shared + b"vitalwire/1 dh ratchet" + h + (2).to_bytes(8, "little") + device_public + backend_public)
export = expand(exporter, b"vitalwire/1 export" + hashlib.blake2s(b"alarm relay").digest() + b"ward 7", 48)

vectors = {
    "origin": "tests/vectors/key_schedule.py; the X25519 keys are those of RFC 7748, section 6.1",
    "handshake_hash": h.hex(),
    "split_keys": split.hex(),
    "exporter": exporter.hex(),
    "export": {"label": "alarm relay", "context": b"ward 7".hex(), "bytes": export.hex()},
    "dh_ratchet": {
        "device_secret": device_secret.hex(),
        "device_public": device_public.hex(),
        "backend_secret": backend_secret.hex(),
        "backend_public": backend_public.hex(),
        "shared": shared.hex(),
    },
    "epochs": [
        {"ratchet": "none", "chain": c0.hex(), **epoch(c0)},
        {"ratchet": "hash", "chain": c1.hex(), **epoch(c1)},
        {"ratchet": "dh", "chain": c2.hex(), **epoch(c2)},
    ],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(vectors, indent=2) + "\n")
