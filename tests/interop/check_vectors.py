#!/usr/bin/env python3
"""Holds this implementation, and so SPEC.md, to every file of tests/vectors. No arguments."""
import json
import pathlib

from authority import (FOR_DEVICES, TOLERANCE, WHOLE, backends_part, certificate_body, issuer_of, list_message,
                       read_certificate, read_list, runs, verify_credential, write_list)
from crypto import (PATTERNS, Noise, blake2s, derive, dh, ephemeral, expand, extract, hmac_, mac, nonce, prefixed,
                    public_of, varint)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from links import Reassembler, cobs, cut, delimited, read_cobs, read_delimited
from records import (CODINGS_READ, alarm, alarm_limits, annotation, block, descriptor, descriptors, event, extension, gap,
                     head, measurement, qualified, read_block)
from session import read_frames, read_items, read_limits
from storage import (BOOTS, DESCRIPTORS, PIN, TICKET, Malformed, about, open_entry, open_item, read_boots, read_ticket,
                     seal_entry, seal_item, write_boots, write_ticket)

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors"
un = bytes.fromhex


def load(name):
    return json.loads((VECTORS / name).read_text())


def primitives():
    file = load("hkdf_blake2s.json")
    for case in file["hash"]:
        assert blake2s(un(case["message"])).hex() == case["hash"]
    for case in file["hmac"]:
        assert hmac_(un(case["key"]), un(case["message"])).hex() == case["mac"]
    for case in file["hkdf"]:
        okm = expand(extract(un(case["salt"]), un(case["ikm"])), un(case["info"]), case["length"])
        assert okm.hex() == case["okm"] if "okm" in case else blake2s(okm).hex() == case["okm_blake2s"]
    for case in load("chacha20poly1305.json")["cases"]:
        sealed = ChaCha20Poly1305(un(case["key"])).encrypt(
            nonce(int(case["counter"])), un(case["plaintext"]), un(case["aad"]))
        assert sealed.hex() == case["ciphertext"] + case["tag"]
    for case in load("rfc8032.json")["cases"]:
        key = Ed25519PrivateKey.from_private_bytes(un(case["seed"]))
        assert key.public_key().public_bytes_raw().hex() == case["public"]
        assert key.sign(un(case["message"])).hex() == case["signature"]


def noise():
    for pattern in PATTERNS:
        for v in load(f"noise/{pattern}.json")["vectors"]:
            psk = un(v["init_psks"][0]) if v.get("init_psks") else None
            rs = un(v["init_remote_static"]) if v.get("init_remote_static") else None
            n = Noise(pattern, un(v["init_prologue"]), un(v.get("init_static", "")), un(v["init_ephemeral"]), rs, psk)
            for i, message in enumerate(v["messages"][:len(PATTERNS[pattern][2])]):
                given, made = ("ciphertext", "payload") if i % 2 else ("payload", "ciphertext")
                assert n.message(un(message[given]), i % 2 == 1).hex() == message[made]
            assert v.get("handshake_hash") in (None, n.h.hex())


def epoch_keys(chain, keys):
    for name, label in (("device_to_backend", b"d2b"), ("backend_to_device", b"b2d"), ("resume", b"resume"),
                        ("next", b"next")):
        assert derive(chain, label).hex() == keys[name], name


def exported(exporter, case):
    made = expand(exporter, b"vitalwire/1 export" + blake2s(case["label"].encode()) + un(case["context"]),
                  len(case["bytes"]) // 2)
    assert made.hex() == case["bytes"]


def key_schedule():
    v = load("key_schedule.json")
    h = un(v["handshake_hash"])
    chain = extract(h, un(v["split_keys"]))
    assert derive(chain, b"exporter").hex() == v["exporter"]
    exported(un(v["exporter"]), v["export"])
    for number, epoch in enumerate(v["epochs"]):
        if epoch["ratchet"] == "hash":
            chain = derive(chain, b"next")
        elif epoch["ratchet"] == "dh":
            r = v["dh_ratchet"]
            shared = dh(un(r["device_secret"]), un(r["backend_public"]))
            assert shared.hex() == r["shared"]
            chain = extract(derive(chain, b"next"), shared + b"vitalwire/1 dh ratchet" + h + number.to_bytes(
                8, "little") + un(r["device_public"]) + un(r["backend_public"]))
        assert chain.hex() == epoch["chain"]
        epoch_keys(chain, epoch)


def credentials():
    file = load("credential.json")
    authority = Ed25519PrivateKey.from_private_bytes(un(file["authority_seed"]))
    public = authority.public_key().public_bytes_raw()
    assert public.hex() == file["authority_public"]
    for c in file["credentials"]:
        assert blake2s(public)[:8].hex() == c["issuer"]
        body = bytes([c["version"]]) + un(c["issuer"]) + varint(c["serial"]) + un(c["subject"]) + bytes([c["role"]])
        body += b"".join(varint(c[name]) for name in ("scopes", "issued", "not_before", "not_after"))
        message = b"vitalwire/1 credential" + body + un(c["static_key"])
        assert message.hex() == c["signed_message"]
        assert (body + authority.sign(message)).hex() == c["encoded"]
        assert blake2s(un(c["encoded"]))[:16].hex() == c["hash"]


def flips(data):
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def revocations(file, authority, roots):
    issuer = issuer_of(roots[0])
    for v in file["lists"]:
        number, issued, issuers = int(v["number"]), v["issued"], [un(x) for x in v["revoked_issuers"]]
        backends, devices = backends_part(issuers, v["backend_serials"]), runs(v["device_serials"])
        message = list_message(issuer, number, issued, backends, blake2s(devices))
        assert (v["issuer"], v["signed_message"]) == (issuer.hex(), message.hex()), v["name"]
        for form, name, of_devices in ((WHOLE, "encoded", v["device_serials"]), (FOR_DEVICES, "for_devices", None)):
            made = write_list(form, issuer, number, issued, authority.sign(message), backends, devices)
            assert made.hex() == v[name], v["name"]
            found = read_list(made, issued, roots)
            assert found == (issuer, number, issued, issuers, v["backend_serials"], of_devices), v["name"]
            assert issued < TOLERANCE or refused(read_list, made, issued - TOLERANCE - 1, roots)
            assert all(refused(read_list, flipped, issued, roots) for flipped in flips(made)), v["name"]
    # Signed as they should be, and against a rule each.
    other = un("00" * 8)
    for number, issuers, backends, devices in ((0, [], [], b""), (1, [issuer, other], [], b""), (1, [other, other], [], b""),
                                               (1, [n.to_bytes(8, "big") for n in range(17)], [], b""), (1, [], [[2**32, 2**32]], b""),
                                               (1, [], [], b"\x80\x00"), (1, [], [], b"\x01"),
                                               (1, [], [[4 * n] * 2 for n in range(256)], b"")):
        backends = backends_part(issuers, backends)
        signature = authority.sign(list_message(issuer, number, 9, backends, blake2s(devices)))
        assert refused(read_list, write_list(WHOLE, issuer, number, 9, signature, backends, devices), 9, roots)


def authorities():
    file = load("authority.json")
    authority = Ed25519PrivateKey.from_private_bytes(un(file["authority_seed"]))
    roots = [authority.public_key().public_bytes_raw()]
    assert roots[0].hex() == file["authority_public"]
    revocations(file, authority, roots)
    for v in file["certificates"]:
        c = {name: un(x) if name in ("issuer", "key") else x for name, x in v.items()}
        body = certificate_body(c)
        message = b"vitalwire/1 authority" + body
        assert (c["issuer"], message.hex()) == (issuer_of(roots[0]), v["signed_message"])
        encoded = body + authority.sign(message)
        assert encoded.hex() == v["encoded"]
        now = v["not_after"]
        certificate = read_certificate(encoded, now, roots)
        assert all(refused(read_certificate, flipped, now, roots) for flipped in flips(encoded))
        assert refused(read_certificate, encoded, now + 1, roots)
        assert refused(read_certificate, encoded, v["not_before"] - TOLERANCE - 1, roots)
        credential, static_key, until = un(v["credential"]), un(v["static_key"]), v["granted_not_after"]
        granted = verify_credential(credential, static_key, 1, until, roots, [certificate])
        assert (granted[0], *granted[2:]) == (issuer_of(c["key"]), v["granted_scopes"], until)
        assert refused(verify_credential, credential, static_key, 1, until, roots)
        assert refused(verify_credential, credential, static_key, 2, until, roots, [certificate])
        assert refused(verify_credential, credential, static_key, 1, until + 1, roots, [certificate])
        assert refused(verify_credential, credential, static_key, 1, until, roots, [certificate | {"roles": 2}])
        narrow = certificate | {"scopes": 1, "not_after": until - 1}
        granted = verify_credential(credential, static_key, 1, until - 1, roots, [narrow])
        assert granted[2:] == (v["granted_scopes"] & 1, until - 1)
        for flipped in flips(credential):
            assert refused(verify_credential, flipped, static_key, 1, until, roots, [certificate])


def handshakes():
    for v in load("handshake.json")["handshakes"]:
        v = {name: un(x) if isinstance(x, str) and name not in ("name",) else x for name, x in v.items()}
        pattern = next(p for p, entry in PATTERNS.items() if entry[0] == v["pattern_byte"])
        psk = v["psk"] if "psk" in pattern else None
        known = v["backend_static_public"] if PATTERNS[pattern][1] else None
        attempt = len(v["device_attempt"]).to_bytes(8, "little") + v["device_attempt"] + v["hello_header"]
        secret = ephemeral(v["device_static_secret"], blake2s(attempt), v["device_random"])
        assert secret == v["device_ephemeral_secret"]
        secret = ephemeral(v["backend_static_secret"], v["hello"][-16:], v["backend_random"])
        assert secret == v["backend_ephemeral_secret"]
        assert v["prologue"] == b"vitalwire/1 25519 ChaChaPoly BLAKE2s" + v["hello_header"]
        key = derive(extract(bytes(32), known or v["authority_public"]), b"hello mac")
        assert key == v["hello_key"]
        n = Noise(pattern, v["prologue"], v["device_static_secret"], v["device_ephemeral_secret"], known, psk)
        hello = v["hello_header"] + n.message(v["hello_payload"], False)
        assert hello + mac(key, hello) == v["hello"]
        header = b"\x12" + v["device_connection_id"]
        assert v["reply"].startswith(header)
        assert n.message(v["reply"][len(header):], True) == v["reply_payload"]
        if n.messages:
            finish = b"\x13" + v["backend_connection_id"] + n.message(v["finish_payload"], False)
            assert finish == v["finish"]
        assert n.h == v["handshake_hash"] and n.split() == v["split_keys"]
        limits = [read_limits(read_items(v[name], {1, 2, 3, 4, 63})[2]) for name in ("hello_payload", "reply_payload")]
        assert limits == [(1232, 128, 7200), (1500, 1024, 7200)]
        chain = extract(n.h, n.split())
        exporter = derive(chain, b"exporter")
        assert exporter == v["exporter"]
        exported(exporter, v["export"])
        epoch_keys(chain, v["epoch_0"])


def tickets():
    v = load("tickets.json")
    c = v["contents"]
    v = {name: un(x) if isinstance(x, str) and name != "origin" else x for name, x in v.items()}
    assert derive(v["resume_secret"], b"ticket psk", v["id"]) == v["psk"]
    assert derive(v["ticket_key"], b"ticket", v["id"]) == v["sealing_key"]
    plain = bytes([1, c["psk_proved"]]) + un(c["issuer"]) + un(c["subject"])
    plain += c["serial"].to_bytes(4, "little") + c["scopes"].to_bytes(4, "little")
    plain += b"".join(c[name].to_bytes(8, "little") for name in ("not_after", "revocation", "origin")) + v["psk"]
    assert plain == v["plain"]
    assert v["id"] + ChaCha20Poly1305(v["sealing_key"]).encrypt(nonce(0), plain, b"") == v["ticket"]
    header = bytes([0x11, 5, len(v["device_connection_id"])]) + v["device_connection_id"] + v["ticket"]
    assert v["prologue"] == b"vitalwire/1 25519 ChaChaPoly BLAKE2s" + header
    key = derive(extract(bytes(32), v["service_key"]), b"hello mac")
    assert key == v["hello_key"]
    n = Noise("NNpsk0", v["prologue"], None, v["device_ephemeral_secret"], None, v["psk"])
    hello = header + n.message(v["hello_payload"], False)
    assert hello + mac(key, hello) == v["hello"] and blake2s(v["hello"]) == v["claim"]
    reply = b"\x12" + v["device_connection_id"]
    assert v["reply"].startswith(reply) and n.message(v["reply"][len(reply):], True) == v["reply_payload"]
    assert n.h == v["handshake_hash"] and n.split() == v["split_keys"]
    assert v["hello_payload"].endswith(b"\x05" + prefixed(v["early"]))
    assert v["reply_payload"].endswith(b"\x06" + prefixed(varint(500)))
    assert [kind for kind, _ in read_frames(v["early"])] == [1, 0]


def packets():
    v = load("packets.json")
    chains = [extract(un(v["handshake_hash"]), un(v["split_keys"]))]
    told = {"device": 0, "backend": 0}
    for p in v["data"]:
        while len(chains) <= p["epoch"]:
            chains.append(derive(chains[-1], b"next"))
        key = derive(chains[p["epoch"]], b"d2b" if p["from"] == "device" else b"b2d")
        length = next(n for n in (1, 2, 3, 4) if p["counter"] - told[p["from"]] < 2 ** (8 * n - 2))
        header = bytes([0x80 | p["epoch"] % 4 << 5 | length - 1 << 3]) + un(p["connection_id"])
        header += p["counter"].to_bytes(8, "little")[:length]
        packet = header + ChaCha20Poly1305(key).encrypt(nonce(p["counter"]), un(p["payload"]), header)
        assert packet.hex() == p["packet"], p
        for kind, body in read_frames(un(p["payload"])):
            if kind == 3:  # an Ack tells the other end; those of these vectors are below 128
                told["device" if p["from"] == "backend" else "backend"] = body[0]
    r = v["retry"]
    retry = b"\x14" + un(r["connection_id"]) + un(r["cookie"])
    key = derive(extract(bytes(32), un(r["anchor"])), b"hello mac")
    assert (retry + mac(key, retry + un(r["hello_mac"]))).hex() == r["packet"]
    assert "15" + v["reset"]["tag"] == v["reset"]["packet"]


def frames():
    for case in load("frames.json")["cases"]:
        alone, followed = un(case["alone"]), un(case["followed_by_rekey_hint"])
        assert followed == bytes([alone[0] | 0x80]) + prefixed(alone[1:]) + b"\x0b"
        assert read_frames(alone) == [(alone[0], alone[1:])] and read_frames(followed)[0] == (alone[0], alone[1:])


def record_form(r):
    """The one encoding of a record that is no block."""
    kind = r["kind"]
    if kind == "measurement":
        states = [v["state"] for v in r["values"]]
        raw = [v["raw"] for v in r["values"] if "raw" in v]
        plain = r["mode"] == 0 and not any(states)
        return measurement(r["channel"], raw) if plain else qualified(r["channel"], r["mode"], states, raw)
    elif kind == "event":
        return event(r["channel"], r["mode"], r["code"], r["value"])
    elif kind == "alarm":
        return alarm(r["channel"], r["mode"], r["phase"], r["priority"], r["alarm_kind"], r["code"],
                    (r["value"], r["low_limit"], r["high_limit"]))
    elif kind == "gap":
        return gap(0 if r["lane"] is None else r["lane"] + 1, r["first"], r["count"], r["reason"])
    elif kind == "annotation":
        return annotation(r["channel"], r["mode"], r["code"], r["span"], r["text"])
    elif kind == "alarm_limits":
        return alarm_limits(r["channel"], r["mode"], r["component"], r["low"], r["high"])
    elif kind == "extension":
        return extension(r["type"], un(r["bytes"]))


def check_block(r, data, channels):
    """Reads a block, and writes it again with other codings."""
    number, channel = r["channel"], channels[r["channel"]]
    components = len(channel["components"])
    rate = channel["rate"]
    regular = 1000 * rate[1] / rate[0] if rate else None
    CODINGS_READ.clear()
    start = len(head({"trend": 2, "waveform": 3}[r["kind"]], number))
    if r["kind"] == "waveform":
        start += len(varint(r["first_sample"]))
    is_trend = r["kind"] == "trend"
    scale = channel["components"][0]["scale"]
    mode, quality, absent, steps, rows = read_block(data[start:], components, regular, is_trend, scale)
    assert (mode, quality, absent) == (r["mode"], r["quality"], r["absent"])
    if is_trend:
        times = [offset for offset, _ in r["points"]]
        assert steps == [q - p for p, q in zip(times, times[1:])] and rows == [row for _, row in r["points"]]
    else:
        assert rows == r["rows"]
    seen = set(CODINGS_READ)
    for coding in [0] + list(range(2, 16)):
        codings = [("absent", reason) if reason else coding for reason in absent]
        again = block(rows, codings, mode, quality, (steps, regular, False) if is_trend else None)
        assert read_block(again, components, regular, is_trend) == (mode, quality, absent, steps, rows)
    return seen


def records():
    file = load("records.json")
    channels = {}
    for c in file["set"]["channels"]:
        components = [(p["metric"], p["unit"], p["scale"], p["offset"]) for p in c["components"]]
        channels[c["number"]] = descriptor(c["kind"], c["metric"], components, c["rate"], c["site"])
    assert descriptors(channels).hex() == file["set"]["bytes"]
    seen = set()
    for case in file["records"]:
        if case["record"]["kind"] in ("trend", "waveform"):
            seen |= check_block(case["record"], un(case["bytes"]), {c["number"]: c for c in file["set"]["channels"]})
        else:
            assert un(case["bytes"]) == record_form(case["record"]), case
    assert seen == set(range(16)), seen


def links():
    file = load("links.json")
    for case in file["fragments"]:
        assert [piece.hex() for piece in cut(case["link"], case["number"], un(case["packet"]))] == case["pieces"]
    for case in file["reassembly"]:
        reassembler = Reassembler(case["longest"])
        made = [reassembler.handle(un(piece)) for piece in case["pieces"]]
        assert [packet.hex() for packet in made if packet] == case["packets"], case["name"]
    stream = file["stream"]
    assert b"".join(delimited(un(packet)) for packet in stream["packets"]).hex() == stream["bytes"]
    assert [packet.hex() for packet in read_delimited(un(stream["bytes"]), 512)] == stream["packets"]
    for case in file["serial"]:
        assert cobs(un(case["packet"])).hex() == case["bytes"]
        assert read_cobs(un(case["bytes"]), 512) == [un(case["packet"])]
    for case in file["line"]:
        assert [packet.hex() for packet in read_cobs(un(case["bytes"]), case["longest"])] == case["packets"], case["name"]


def refused(read, *arguments):
    try:
        read(*arguments)
    except Malformed:
        return True
    return False


def storage():
    v = load("storage.json")
    key, e, b, d, t = un(v["storage_key"]), v["entry"], v["boots"], v["descriptors"], v["ticket"]
    boot, entry = (e["boot"], un(e["tag"])), un(e["entry"])
    records = [(record["time"], un(record["record"])) for record in e["records"]]
    found = open_entry(key, {boot: un(e["salt"])}, entry)
    assert found == (e["lane"], *boot, e["counter"], e["first"], records)
    assert seal_entry(key, un(e["salt"]), e["lane"], *boot, e["counter"], e["first"], records) == entry
    for bit in range(8 * len(entry)):
        flipped = bytearray(entry)
        flipped[bit // 8] ^= 1 << bit % 8
        assert refused(open_entry, key, {boot: un(e["salt"])}, bytes(flipped))
    boots = [(x["number"], un(x["tag"]), x["place"], un(x["set"]), un(x["salt"])) for x in b["boots"]]
    latest = b["latest"], un(b["latest_tag"])
    assert read_boots(open_item(key, BOOTS, un(b["item"]))) == (latest, boots)
    of_boot = about(d["boot"], un(d["tag"]))
    assert open_item(key, DESCRIPTORS, un(d["item"]), of_boot) == un(d["set"])
    assert open_item(key, TICKET, un(t["item"])) == un(t["content"])
    p = v["pin"]
    pinned = b"\x01" + un(p["key"]) + un(p["issuer"]) + un(p["subject"]) + p["floor"].to_bytes(8, "little")
    assert open_item(key, PIN, un(p["item"])) == pinned
    for item, label, content, concerns in ((b, BOOTS, write_boots(*latest, boots), bytes(8)),
                                           (d, DESCRIPTORS, un(d["set"]), of_boot),
                                           (t, TICKET, un(t["content"]), bytes(8)),
                                           (p, PIN, pinned, bytes(8))):
        assert seal_item(key, label, content, concerns, un(item["salt"])).hex() == item["item"]
        for bit in range(8 * len(un(item["item"]))):
            flipped = bytearray(un(item["item"]))
            flipped[bit // 8] ^= 1 << bit % 8
            assert refused(open_item, key, label, bytes(flipped), concerns)
    ticket = read_ticket(un(t["content"]))
    assert write_ticket(ticket) == un(t["content"])
    assert {name: x.hex() if isinstance(x, bytes) else x for name, x in ticket.items()} == t["ticket"]


def audit():
    v = load("audit.json")
    keys = [Ed25519PrivateKey.from_private_bytes(un(seed)) for seed in v["checkpoint_seeds"]]
    public = [key.public_key().public_bytes_raw() for key in keys]
    number, before, checkpoints = 0, bytes(32), 0
    for file in (v, v["next_file"]):
        header = b"vwaudit1" + un(v["node"]) + number.to_bytes(8, "little") + before + public[checkpoints]
        assert header.hex() == file["header"]
        before = blake2s(b"vitalwire/1 audit header" + header)
        for e in file["entries"]:
            wall = e["unix_millis"]
            front = varint(number) + varint(e["at"])
            front += b"\0" if wall is None else bytes([e["quality"] + 1]) + varint(wall)
            front += bytes([e["shard"], e["code"]])
            body = un(e["body"])
            assert e["sequence"] == number and body.startswith(front)
            if e["code"] == 0:
                front += public[checkpoints + 1]
                signed = blake2s(b"vitalwire/1 audit checkpoint" + before + front)
                assert body == front + keys[checkpoints].sign(signed)
                assert e["next_key"] == public[checkpoints + 1].hex()
                checkpoints += 1
            before = blake2s(b"vitalwire/1 audit entry" + before + body)
            assert before.hex() == e["hash"]
            number += 1
        assert before.hex() == file["head"] and file["entries"][-1]["code"] == 0
    assert checkpoints + 1 == len(keys)


def main():
    for check in (primitives, noise, key_schedule, credentials, authorities, handshakes, tickets, packets, frames, records, links, storage,
                  audit):
        check()
        print(f"{check.__name__}: good")


if __name__ == "__main__":
    main()
