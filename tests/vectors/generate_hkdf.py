#!/usr/bin/env python3
"""Writes hkdf_blake2s.json: BLAKE2s-256, HMAC-BLAKE2s-256 and HKDF-BLAKE2s-256.

No RFC has vectors for HMAC or HKDF over BLAKE2s. These come from Python's hashlib (the BLAKE2 reference code) and
hmac, with HKDF written here from RFC 5869, so no line of them is shared with the Rust crates that they check.
Deterministic: a second run writes the same file.
"""
import hashlib
import hmac
import json
import pathlib


def blake2s(data):
    return hashlib.blake2s(data).digest()


def mac(key, data):
    return hmac.new(key, data, hashlib.blake2s).digest()


def hkdf(salt, ikm, info, length):
    """RFC 5869, sections 2.2 and 2.3."""
    prk = mac(salt, ikm)
    okm, block, index = b"", b"", 1
    while len(okm) < length:
        block = mac(prk, block + info + bytes([index]))
        okm += block
        index += 1
    return okm[:length]


def octets(label, length):
    """Bytes without structure that anyone can make again: BLAKE2s(label ‖ counter) strung together."""
    out, index = b"", 0
    while len(out) < length:
        out += blake2s(label.encode() + index.to_bytes(4, "little"))
        index += 1
    return out[:length]


def main():
    # RFC 7693, appendix B: the anchor to a published value.
    assert blake2s(b"abc").hex() == "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
    # The block is 64 bytes: one less, exact, one more, also after HMAC's own block and HKDF's chaining.
    lengths = [0, 1, 31, 32, 33, 55, 56, 63, 64, 65, 127, 128, 129, 1000]
    hashes = [{"message": octets("message", n).hex(), "hash": blake2s(octets("message", n)).hex()} for n in lengths]
    macs = []
    for n in lengths:
        for key in [bytes(32), b"\xff" * 32, octets("key", 32)]:
            message = octets("mac message", n)
            macs.append({"key": key.hex(), "message": message.hex(), "mac": mac(key, message).hex()})
    derived = []
    for length in [1, 16, 31, 32, 33, 63, 64, 65, 96, 255, 8159, 8160]:
        for salt, ikm, info in [
            (bytes(32), b"", b""),
            (octets("salt", 32), octets("ikm", 64), b""),
            (octets("salt", 32), octets("ikm", 32), b"vitalwire/1 d2b"),
            (bytes(32), octets("ikm", 200), octets("info", 100)),
        ]:
            okm = hkdf(salt, ikm, info, length)
            case = {"salt": salt.hex(), "ikm": ikm.hex(), "info": info.hex(), "length": length}
            # Long outputs as their hash, so that the file stays small.
            case |= {"okm": okm.hex()} if length <= 255 else {"okm_blake2s": blake2s(okm).hex()}
            derived.append(case)
    file = pathlib.Path(__file__).resolve().parent / "hkdf_blake2s.json"
    origin = "generate_hkdf.py: Python hashlib and hmac, HKDF from RFC 5869"
    text = json.dumps({"origin": origin, "hash": hashes, "hmac": macs, "hkdf": derived}, indent=1)
    file.write_text(text + "\n")
    print(len(hashes), len(macs), len(derived))


main()
