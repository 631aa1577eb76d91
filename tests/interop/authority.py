"""Credentials, certificates of intermediate authorities and revocation lists, as in SPEC.md, "Identity"."""
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from crypto import Malformed, Reader, blake2s, prefixed, varint

WHOLE, FOR_DEVICES = 1, 2
LATEST = 2**35 - 1
TOLERANCE = 300


def issuer_of(public):
    return blake2s(public)[:8]


def check_signature(public, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise Malformed("signature") from None


def times(r):
    issued, not_before, not_after = (r.varint(high=LATEST) for _ in range(3))
    if not_after < max(issued, not_before):
        raise Malformed("times")
    return issued, not_before, not_after


def check_times(issued, not_before, not_after, now):
    if not_after < now or max(issued, not_before) > now + TOLERANCE:
        raise Malformed("not valid now")


# Credentials.

def read_credential(data):
    """Returns (issuer, serial, subject, role, scopes, times) and the bytes before the signature."""
    r = Reader(data[:-64])
    if r.byte() != 1:
        raise Malformed("version")
    issuer, serial, subject, role = r.take(8), r.varint(high=2**32 - 1), r.take(16), r.byte()
    if role not in (1, 2):
        raise Malformed("role")
    scopes, found = r.varint(high=2**32 - 1), times(r)
    r.end()
    return (issuer, serial, subject, role, scopes, found), r.data


def verify_credential(data, static_key, role, now, roots, certificates=()):
    """Returns what is granted: (issuer, serial, scopes, not after). `roots` are public keys; `certificates` what
    read_certificate has returned."""
    (issuer, serial, _, own_role, scopes, (issued, not_before, not_after)), body = read_credential(data)
    public = next((root for root in roots if issuer_of(root) == issuer), None)
    if public is None:
        found = next((c for c in certificates if issuer_of(c["key"]) == issuer), None)
        if found is None or not found["roles"] >> own_role - 1 & 1:
            raise Malformed("issuer")
        public, scopes = found["key"], scopes & found["scopes"]
        not_before, not_after = max(not_before, found["not_before"]), min(not_after, found["not_after"])
        if max(issued, not_before) > not_after:
            raise Malformed("issued after its issuer's end")
    if own_role != role:
        raise Malformed("role")
    check_times(issued, not_before, not_after, now)
    check_signature(public, data[-64:], b"vitalwire/1 credential" + body + static_key)
    return issuer, serial, scopes, not_after


# Intermediate authorities.

def certificate_body(c):
    body = bytes([1]) + c["issuer"] + varint(c["serial"]) + c["key"] + bytes([c["roles"]]) + varint(c["scopes"])
    return body + b"".join(varint(c[name]) for name in ("issued", "not_before", "not_after"))


def read_certificate(data, now, roots):
    r = Reader(data[:-64])
    if r.byte() != 1:
        raise Malformed("version")
    c = {"issuer": r.take(8), "serial": r.varint(high=2**32 - 1), "key": r.take(32), "roles": r.byte()}
    if c["roles"] not in (1, 2, 3):
        raise Malformed("roles")
    c["scopes"] = r.varint(high=2**32 - 1)
    c["issued"], c["not_before"], c["not_after"] = times(r)
    r.end()
    root = next((root for root in roots if issuer_of(root) == c["issuer"]), None)
    if root is None:
        raise Malformed("issuer")
    check_times(c["issued"], c["not_before"], c["not_after"], now)
    check_signature(root, data[-64:], b"vitalwire/1 authority" + r.data)
    return c


# Revocation lists.

def runs(serials):
    """`serials`: ascending [first, last] that do not touch."""
    out, lowest = b"", 0
    for first, last in serials:
        out += varint(2 * (first - lowest) + (last > first))
        if last > first:
            out += varint(last - first - 1)
        lowest = last + 2
    return out


def read_runs(r):
    found, lowest = [], 0
    while r.more():
        n = r.varint()
        first = last = lowest + (n >> 1)
        if n & 1:
            last = first + 1 + r.varint()
        if last >= 2**32:
            raise Malformed("serial")
        found.append([first, last])
        lowest = last + 2
    return found


def backends_part(issuers, serials):
    return bytes([len(issuers)]) + b"".join(issuers) + runs(serials)


def list_message(issuer, number, issued, backends, devices_hash):
    front = bytes([1]) + issuer + varint(number) + varint(issued)
    return b"vitalwire/1 revocation" + front + blake2s(backends) + devices_hash


def write_list(form, issuer, number, issued, signature, backends, devices):
    tail = devices if form == WHOLE else blake2s(devices)
    return bytes([1, form]) + issuer + varint(number) + varint(issued) + signature + prefixed(backends) + tail


def read_list(data, now, roots):
    """Returns (issuer, number, issued, revoked issuers, serials of backends, serials of devices or None)."""
    r = Reader(data)
    if len(data) > 65536 or r.byte() != 1:
        raise Malformed("version or length")
    form, issuer = r.byte(), r.take(8)
    if form not in (WHOLE, FOR_DEVICES):
        raise Malformed("form")
    number, issued, signature, backends = r.varint(low=1), r.varint(high=LATEST), r.take(64), r.prefixed()
    if len(backends) > 256:
        raise Malformed("part for backends")
    root = next((root for root in roots if issuer_of(root) == issuer), None)
    if root is None:
        raise Malformed("issuer")
    if form == WHOLE:
        devices = r.take(len(data) - r.at)
        devices_hash = blake2s(devices)
    else:
        devices, devices_hash = None, r.take(32)
        r.end()
    check_signature(root, signature, list_message(issuer, number, issued, backends, devices_hash))
    if issued > now + TOLERANCE:
        raise Malformed("from the future")
    b = Reader(backends)
    count = b.byte()
    issuers = [b.take(8) for _ in range(count)]
    if count > 16 or any(p >= q for p, q in zip(issuers, issuers[1:])):
        raise Malformed("issuers")
    return issuer, number, issued, issuers, read_runs(b), None if devices is None else read_runs(Reader(devices))
