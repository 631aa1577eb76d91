"""Tickets and the resumption with one (SPEC.md, "Tickets", "Resumption"). Shares no code with the Rust crate."""
import os
import time

from crypto import Malformed, Noise, Reader, blake2s, derive, ephemeral, extract, mac, varint
from session import (AGE, CONNECTION, EARLY, LIMITS, OUR_LIMITS, PADDING, Handshake, Session, items, log, read_items,
                     read_limits)


def read_frame(body, session, device):
    """What a device keeps of a Ticket frame, in the form in which it is stored, and whether two used one."""
    r = Reader(body)
    flags, ticket, service_key, end = r.byte(), r.take(122), r.take(32), r.varint(0, 2**35 - 1)
    r.end()
    if flags > 1:
        raise Malformed("flags of a ticket")
    issuer, subject = device.verifier.expected
    return {"ticket": ticket, "psk": derive(session.resume, b"ticket psk", ticket[:16]), "service_key": service_key,
            "psk_proved": device.peer["psk_proved"], "backend_key": device.pinned, "issuer": issuer, "subject": subject,
            "scopes": device.peer["scopes"], "end": min(end, device.peer["not_after"]),
            "own_hash": blake2s(device.credential)[:16]}, bool(flags)


def is_usable(ticket, device):
    return ((ticket["issuer"], ticket["subject"]) == device.verifier.expected
            and device.pinned in (None, ticket["backend_key"])
            and ticket["own_hash"] == blake2s(device.credential)[:16]
            and max(int(time.time()), device.verifier.floor) <= ticket["end"]
            and (device.psk is None or ticket["psk_proved"]))


class Resumption:
    """A handshake of pattern 5."""
    pattern, sends, two_messages = "NNpsk0", 3, True

    def __init__(self, device, ticket, early):
        self.device, self.ticket, self.connection = device, ticket, os.urandom(4)
        header = bytes([0x11, 5, len(self.connection)]) + self.connection + ticket["ticket"]
        self.key = derive(extract(bytes(32), ticket["service_key"]), b"hello mac")
        self.noise = Noise(self.pattern, b"vitalwire/1 25519 ChaChaPoly BLAKE2s" + header, None,
                           ephemeral(device.static, os.urandom(8) + header), None, ticket["psk"])
        pairs = [(LIMITS, b"".join(varint(n) for n in OUR_LIMITS))] + ([(EARLY, early)] if early else [])
        self.hello = header + self.noise.message(items(pairs), False)
        self.hello += mac(self.key, self.hello)
        assert 96 <= len(self.hello) <= 512, len(self.hello)
        self.packet, self.session, self.failures = self.hello, None, 0

    @staticmethod
    def room(connection_length=4):
        return 310 - connection_length

    retry = Handshake.retry

    def reply(self, packet):
        start = b"\x12" + self.connection
        if not packet.startswith(start) or self.session or self.failures == 16:
            return False
        noise = self.noise.copy()
        try:
            found = read_items(noise.message(packet[len(start):], True), {CONNECTION, LIMITS, AGE, PADDING})
            limits, peer_id, age = read_limits(found[LIMITS]), found[CONNECTION], Reader(found[AGE])
            self.age = age.varint(0, 2**32 - 1)
            age.end()
            if not 1 <= len(peer_id) <= 8:
                raise Malformed("connection id")
        except Exception as error:
            log(f"Reply refused: {error!r}")
            self.failures += 1
            return False
        self.session = Session(noise, self.connection, peer_id, limits)
        device, ticket = self.device, self.ticket
        device.pinned = ticket["backend_key"]
        device.peer = {"scopes": ticket["scopes"], "not_after": ticket["end"], "psk_proved": ticket["psk_proved"]}
        return True
