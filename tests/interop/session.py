"""The device's half of a handshake and of a session, as in SPEC.md. Shares no code with the Rust crate."""
import hmac
import os
import sys
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from crypto import (PATTERNS, Malformed, Noise, Reader, blake2s, derive, dh, ephemeral, extract, mac, nonce, prefixed,
                    public_of, varint)

STARTED = time.monotonic()


def log(text):
    print(f"{time.monotonic() - STARTED:8.3f}  {text}", file=sys.stderr, flush=True)


CONNECTION, LIMITS, CREDENTIAL, KNOWN, EARLY, AGE, PADDING = 1, 2, 3, 4, 5, 6, 63
OUR_LIMITS = (1200, 64, 3600)  # largest packet, window, idle seconds


def items(pairs):
    return b"".join(varint(t) + prefixed(b) for t, b in pairs)


def read_items(data, allowed):
    r, found, last = Reader(data), {}, -1
    while r.more():
        t, body = r.varint(), r.prefixed()
        if t <= last or (t < 64 and t not in allowed):
            raise Malformed("item")
        last = t
        found[t] = body
    return found


def read_limits(body):
    r = Reader(body)
    out = r.varint(64, 65535), r.varint(64, 8192), r.varint(1, 604800)
    r.end()
    return out


class Verifier:
    def __init__(self, authority, expected):
        self.authority, self.expected, self.floor = authority, expected, 0

    def check(self, credential, static):
        r = Reader(credential)
        if r.byte() != 1:
            raise Malformed("version of the credential")
        issuer, _serial, subject, role = r.take(8), r.varint(0, 2**32 - 1), r.take(16), r.byte()
        scopes = r.varint(0, 2**32 - 1)
        issued, before, after = (r.varint(0, 2**35 - 1) for _ in range(3))
        signed_part = credential[:r.at]
        signature = r.take(64)
        r.end()
        now = max(int(time.time()), self.floor)
        if after < before or after < issued:
            raise Malformed("empty validity")
        if issuer != blake2s(self.authority)[:8] or role != 2 or (issuer, subject) != self.expected:
            raise Malformed("not our backend")
        if after < now or max(before, issued) > now + 300:
            raise Malformed("not valid now")
        Ed25519PublicKey.from_public_bytes(self.authority).verify(
            signature, b"vitalwire/1 credential" + signed_part + static)
        self.floor = max(self.floor, issued)
        return {"scopes": scopes, "not_after": after}


class Handshake:
    """A full one."""
    sends = 4

    def __init__(self, device, pattern, cookie=b""):
        self.device, self.pattern = device, pattern
        self.connection = os.urandom(4)
        psk = device.psk if "psk" in pattern else None
        psk_id = device.psk_id if pattern == "XXpsk3" else b""
        ik = pattern.startswith("IK")
        header = bytes([0x11, PATTERNS[pattern][0], len(self.connection) | bool(cookie) << 4 | bool(psk_id) << 5])
        header += self.connection + psk_id + cookie
        self.key = derive(extract(bytes(32), device.pinned if ik else device.authority), b"hello mac")
        self.noise = Noise(pattern, b"vitalwire/1 25519 ChaChaPoly BLAKE2s" + header, device.static,
                           ephemeral(device.static, os.urandom(8) + header), device.pinned if ik else None, psk)
        pairs = [(LIMITS, b"".join(varint(n) for n in OUR_LIMITS))]
        if ik:
            pairs += [(CREDENTIAL, device.credential), (KNOWN, blake2s(device.backend_credential)[:16])]
        missing = 96 - (len(header) + 32 + len(items(pairs)) + 16 + (16 if psk else 0) + (64 if ik else 0))
        if missing > 0:
            pairs.append((PADDING, bytes(max(0, missing - 2))))
        self.hello = header + self.noise.message(items(pairs), False)
        self.hello += mac(self.key, self.hello)
        assert 96 <= len(self.hello) <= 512
        self.packet, self.session, self.failures, self.two_messages = self.hello, None, 0, ik

    def retry(self, packet):
        """The cookie, if this is a Retry for our Hello."""
        body, tag = packet[:-16], packet[-16:]
        if body[:-16] != b"\x14" + self.connection or not hmac.compare_digest(
                tag, mac(self.key, body + self.hello[-16:])):
            return None
        return body[-16:]

    def reply(self, packet):
        """Takes a Reply. True if it was good: then there is a session, and a Finish to send in XX."""
        if packet[:1 + len(self.connection)] != b"\x12" + self.connection or self.session or self.failures == 16:
            return False
        device, noise, ik = self.device, self.noise.copy(), self.pattern.startswith("IK")
        try:
            payload = noise.message(packet[1 + len(self.connection):], True)
            found = read_items(payload, {CONNECTION, LIMITS, CREDENTIAL, PADDING} | ({KNOWN} if ik else set()))
            limits, peer_id = read_limits(found[LIMITS]), found[CONNECTION]
            if not 1 <= len(peer_id) <= 8:
                raise Malformed("connection id")
            credential = found.get(CREDENTIAL)
            if credential is None:
                credential = device.backend_credential
                if found[KNOWN] != blake2s(credential)[:16]:
                    raise Malformed("another credential")
            peer = device.verifier.check(credential, noise.rs)
        except Exception as error:  # back to the state after the Hello
            log(f"Reply refused: {error!r}")
            self.failures += 1
            return False
        device.pinned, device.backend_credential = noise.rs, credential
        device.peer = {**peer, "psk_proved": "psk" in self.pattern}
        if not ik:
            self.packet = b"\x13" + peer_id + noise.message(items([(CREDENTIAL, device.credential)]), False)
        self.session = Session(noise, self.connection, peer_id, limits)
        return True


class Session:
    def __init__(self, noise, ours, theirs, limits):
        self.ours, self.theirs, self.limits, self.h = ours, theirs, limits, noise.h
        self.epoch, self.next_counter, self.told = 0, 0, 0  # told: the highest counter that the backend confirmed
        self.highest, self.seen, self.lowest = -1, set(), None  # lowest: of the current epoch
        self.confirmed, self.previous, self.first_at = False, None, None
        self.sent_in_epoch, self.longest, self.longest_before = 0, 1, 1
        self.request = self.ready = None
        self.healed = False
        self.adopt(extract(self.h, noise.split()))

    def adopt(self, chain):
        self.d2b, self.b2d, self.n, self.resume = (
            derive(chain, label) for label in (b"d2b", b"b2d", b"next", b"resume"))

    def may_move(self):
        """Section "Epochs"."""
        if not self.confirmed:
            return False
        if self.epoch == 0:
            return True
        aged = time.monotonic() - self.first_at >= 120
        if self.previous and (aged or self.lowest - 1 <= self.highest - OUR_LIMITS[1]):
            self.previous = None
        depth = min(self.limits[1], 2 ** (8 * self.longest_before - 1))
        return not self.previous and (aged or self.sent_in_epoch >= depth)

    def move(self, chain):
        assert self.may_move()
        self.previous = self.b2d
        self.adopt(chain)
        self.epoch += 1
        self.confirmed, self.lowest, self.first_at, self.sent_in_epoch = False, None, None, 0
        self.longest_before, self.longest = self.longest, 1
        self.request = self.ready = None
        log(f"epoch {self.epoch}")

    def start_dh(self, static):
        self.request = ephemeral(static, self.ours + bytes([self.epoch % 256]))
        return public_of(self.request)

    def accept(self, epoch, theirs):
        if self.request and not self.ready and epoch == self.epoch:
            ours = public_of(self.request)
            ikm = dh(self.request, theirs) + b"vitalwire/1 dh ratchet" + self.h
            ikm += (self.epoch + 1).to_bytes(8, "little") + ours + theirs
            self.ready, self.request, self.n = extract(self.n, ikm), None, None

    def seal(self, frames):
        if self.ready and self.may_move():
            self.move(self.ready)
            self.healed = True  # the tickets of before are to be forgotten
        length = next(n for n in (1, 2, 3, 4) if self.next_counter - self.told < 2 ** (8 * n - 2))
        self.longest = max(self.longest, length)
        header = bytes([0x80 | self.epoch % 4 << 5 | length - 1 << 3]) + self.theirs
        header += self.next_counter.to_bytes(8, "little")[:length]
        packet = header + ChaCha20Poly1305(self.d2b).encrypt(nonce(self.next_counter), frames, header)
        self.next_counter += 1
        self.sent_in_epoch += 1
        return packet

    def open(self, packet):
        """(epoch, payload), or nothing if the packet is to be discarded."""
        first, at = packet[0], 1 + len(self.ours)
        length = (first >> 3 & 3) + 1
        if first & 7 or packet[1:at] != self.ours or len(packet) < at + length + 16:
            return None
        low, span, expected = int.from_bytes(packet[at:at + length], "little"), 256 ** length, self.highest + 1
        counter = expected - span // 2 + (low - expected + span // 2) % span
        if counter < 0:
            counter += span
        if counter in self.seen or counter <= self.highest - OUR_LIMITS[1]:
            return None
        if (first >> 5 & 3) == self.epoch % 4:
            key, epoch = self.b2d, self.epoch
        elif (first >> 5 & 3) == (self.epoch - 1) % 4 and self.previous:
            key, epoch = self.previous, self.epoch - 1
            if self.lowest is not None and counter >= self.lowest:
                return None
        else:
            return None
        header = packet[:at + length]
        try:
            payload = ChaCha20Poly1305(key).decrypt(nonce(counter), packet[at + length:], header)
        except Exception:
            return None
        self.seen.add(counter)
        self.highest = max(self.highest, counter)
        if epoch == self.epoch:
            self.lowest = counter if self.lowest is None else min(self.lowest, counter)
            if not self.confirmed:
                self.confirmed, self.first_at = True, time.monotonic()
        return epoch, payload


(F_PADDING, F_PING, F_PONG, F_ACK, F_CREDIT, F_STREAMS, F_RECORDS, F_DESCRIPTORS, F_WANT_DESCRIPTORS, F_REKEY,
 F_REKEYED, F_HINT) = range(12)
F_TICKET, F_TIME, F_COMMAND, F_RESULT, F_CLOSE, F_REFUSED, F_LISTEN = 12, 15, 16, 17, 18, 19, 20


def frame(kind, body=b""):
    return bytes([kind | 0x80]) + prefixed(body)


def read_frames(payload):
    r, out = Reader(payload), []
    while r.more():
        kind = r.byte()
        body = r.prefixed() if kind & 0x80 else r.take(len(payload) - r.at)
        out.append((kind & 0x7F, body))
    return out
