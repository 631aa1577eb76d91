#!/usr/bin/env python3
"""Writes chacha20poly1305.json: ChaCha20-Poly1305 with the nonces that Noise and vitalwire use.

The nonce of the published vector in RFC 8439, section 2.8.2, does not begin with four zero bytes, so our wrapper
cannot express it. The cipher is therefore written here once more, from RFC 8439 alone, held to that vector and to the
one in appendix A.5, and then used to make vectors with the nonce 0000 ‖ counter.
Deterministic: a second run writes the same file.
"""
import hashlib
import json
import pathlib
import struct

MASK = 0xFFFFFFFF


def quarter_round(s, a, b, c, d):
    """RFC 8439, section 2.1."""
    for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & MASK
        s[z] ^= s[x]
        s[z] = ((s[z] << turn) | (s[z] >> (32 - turn))) & MASK


def chacha20_block(key, counter, nonce):
    """RFC 8439, section 2.3."""
    start = list(struct.unpack("<4I", b"expand 32-byte k"))
    start += list(struct.unpack("<8I", key)) + [counter] + list(struct.unpack("<3I", nonce))
    state = start[:]
    for _ in range(10):
        quarter_round(state, 0, 4, 8, 12)
        quarter_round(state, 1, 5, 9, 13)
        quarter_round(state, 2, 6, 10, 14)
        quarter_round(state, 3, 7, 11, 15)
        quarter_round(state, 0, 5, 10, 15)
        quarter_round(state, 1, 6, 11, 12)
        quarter_round(state, 2, 7, 8, 13)
        quarter_round(state, 3, 4, 9, 14)
    return struct.pack("<16I", *((a + b) & MASK for a, b in zip(state, start)))


def chacha20(key, counter, nonce, data):
    """RFC 8439, section 2.4."""
    out = bytearray()
    for at in range(0, len(data), 64):
        stream = chacha20_block(key, counter + at // 64, nonce)
        out += bytes(a ^ b for a, b in zip(data[at : at + 64], stream))
    return bytes(out)


def poly1305(key, message):
    """RFC 8439, section 2.5."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    s = int.from_bytes(key[16:], "little")
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at : at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((total + s) % 2**128).to_bytes(16, "little")


def seal(key, nonce, aad, plaintext):
    """RFC 8439, section 2.8."""
    ciphertext = chacha20(key, 1, nonce, plaintext)
    one_time = chacha20_block(key, 0, nonce)[:32]
    message = aad + bytes(-len(aad) % 16) + ciphertext + bytes(-len(ciphertext) % 16)
    message += struct.pack("<QQ", len(aad), len(ciphertext))
    return ciphertext, poly1305(one_time, message)


def octets(label, length):
    """Bytes without structure that anyone can make again: BLAKE2s(label ‖ counter) strung together."""
    out, index = b"", 0
    while len(out) < length:
        out += hashlib.blake2s(label.encode() + index.to_bytes(4, "little")).digest()
        index += 1
    return out[:length]


def check_section_2_8_2():
    key = bytes(range(0x80, 0xA0))
    nonce = bytes.fromhex("070000004041424344454647")
    aad = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
    ciphertext, tag = seal(key, nonce, aad, text)
    assert ciphertext[:16].hex() == "d31a8d34648e60db7b86afbc53ef7ec2" and ciphertext[-2:].hex() == "6116"
    assert tag.hex() == "1ae10b594f09e26a7e902ecbd0600691"
    return key, aad, text


def check_appendix_a_5():
    key = bytes.fromhex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0")
    nonce = bytes.fromhex("000000000102030405060708")
    aad = bytes.fromhex("f33388860000000000004e91")
    text = (
        b"Internet-Drafts are draft documents valid for a maximum of six months and may be updated, replaced, or "
        b"obsoleted by other documents at any time. It is inappropriate to use Internet-Drafts as reference material "
        b"or to cite them other than as /\xe2\x80\x9cwork in progress./\xe2\x80\x9d"
    )
    ciphertext, tag = seal(key, nonce, aad, text)
    assert tag.hex() == "eead9d67890cbb22392336fea1851f38"
    return key, nonce, aad, text


def case(name, key, counter, aad, plaintext):
    ciphertext, tag = seal(key, bytes(4) + struct.pack("<Q", counter), aad, plaintext)
    return {
        "name": name,
        "key": key.hex(),
        "counter": str(counter),  # decimal, as a string: JSON numbers are exact to 2^53 only
        "aad": aad.hex(),
        "plaintext": plaintext.hex(),
        "ciphertext": ciphertext.hex(),
        "tag": tag.hex(),
    }


def main():
    key, aad, text = check_section_2_8_2()
    a5_key, a5_nonce, a5_aad, a5_text = check_appendix_a_5()
    cases = [
        case("RFC 8439, appendix A.5", a5_key, int.from_bytes(a5_nonce[4:], "little"), a5_aad, a5_text),
        case("RFC 8439, section 2.8.2, nonce prefix 0", key, int.from_bytes(b"@ABCDEFG", "little"), aad, text),
    ]
    # Around Poly1305's 16 and ChaCha20's 64 bytes, and around the widths that SIMD code takes at once.
    for n in [0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1024]:
        for m in [0, 1, 12, 16, 17]:
            cases.append(case(f"{n} bytes, {m} associated", octets("key", 32), n, octets("aad", m), octets("text", n)))
    for counter in [0, 1, 255, 256, 2**32 - 1, 2**32, 2**63, 2**64 - 2]:
        cases.append(case(f"counter {counter}", octets("key", 32), counter, octets("aad", 6), octets("text", 20)))
    file = pathlib.Path(__file__).resolve().parent / "chacha20poly1305.json"
    origin = "generate_aead.py: ChaCha20-Poly1305 written from RFC 8439, held to its section 2.8.2 and appendix A.5"
    file.write_text(json.dumps({"origin": origin, "cases": cases}, indent=1) + "\n")
    print(len(cases))


main()
