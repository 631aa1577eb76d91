#!/usr/bin/env python3
"""A Vitalwire device over UDP, written from SPEC.md alone: it shares no code with the Rust crate.

    device.py PROVISION.json [--loss 0.2] [--retry] [--psk]

PROVISION.json comes from `udp_backend --provision`. The device enrols with XX (or XXpsk3) over UDP, delivers records of
every kind, moves through a Diffie-Hellman and a hash ratchet, comes back with IK (or IKpsk2) and closes. Every record
that it accepts is printed to standard output as one line of JSON, as the backend should print it.
Needs Python 3.9 and `cryptography`. No product: keys lie in a file, and nothing is durable.
"""
import argparse
import json
import os
import random
import socket
import time
from dataclasses import dataclass, field

from crypto import Malformed, Reader, blake2s, public_of, signed, varint
from records import (
    alarm, alarm_limits, annotation, descriptor, descriptors, event, extension, gap, measurement, qualified, trend,
    waveform,
)
from session import (F_ACK, F_CLOSE, F_CREDIT, F_DESCRIPTORS, F_HINT, F_PADDING, F_PING, F_PONG, F_RECORDS, F_REFUSED,
                     F_REKEY, F_REKEYED, F_STREAMS, F_WANT_DESCRIPTORS, Handshake, Verifier, frame, log, read_frames)


@dataclass
class Record:
    time: int
    bytes: bytes
    sent: int = 0
    state: str = "queued"  # or "flight" or "refused"; settled ones are removed


@dataclass
class Stream:
    lane: int
    index: int
    next: int = 0
    records: dict = field(default_factory=dict)
    sent_below: int = 0
    named: bool = False  # an Ack of this session named the stream, by its present index
    former: set = field(default_factory=set)  # its indices before the set grew
    passed: int = 0  # refused sequences below this are to be passed by an Ack

    def oldest(self):
        return min((s for s, r in self.records.items() if r.state != "refused"), default=self.next)


@dataclass
class Flight:
    stream: Stream
    sequences: list
    at: float
    until: float
    clean: bool  # no record in it was sent before


class Device:
    def __init__(self, config, loss, psk):
        decode = {k: bytes.fromhex(v) for k, v in config.items() if isinstance(v, str) and k != "address"}
        self.authority, self.static, self.credential = (
            decode["authority"], decode["device_secret"], decode["device_credential"])
        self.verifier = Verifier(self.authority, (blake2s(self.authority)[:8], decode["backend_subject"]))
        self.psk, self.psk_id = (decode["psk"], decode["psk_id"]) if psk else (None, b"")
        self.pinned = self.backend_credential = None
        host, port = config["address"].rsplit(":", 1)
        self.address, self.loss = (host, int(port)), loss
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.booted, self.boot, self.tag = time.monotonic(), 7, os.urandom(4)
        self.streams = [Stream(lane, index) for lane, index in ((0, 3), (1, 9), (2, 0), (3, 15))]
        self.set, self.session, self.closed = b"", None, None
        self.refused = []
        self.restart()

    def restart(self):
        """What belongs to a session."""
        self.credit, self.flights, self.srtt, self.rttvar, self.doublings = 8, [], None, None, 0
        self.doubled_at = self.streams_at = self.rekey_at = 0.0
        self.pongs, self.acked = set(), -1
        self.wanted, self.passes, self.pass_at = False, 0, 0.0
        for stream in self.streams:
            stream.named, stream.former = False, set()
            for record in stream.records.values():
                if record.state == "flight":
                    record.state, record.sent = "queued", 1

    def now_ms(self):
        return int((time.monotonic() - self.booted) * 1000)

    def accept(self, lane, when, encoded, **shown):
        stream = self.streams[lane]
        stream.records[stream.next] = Record(when, encoded)
        print(json.dumps({"lane": lane, "sequence": stream.next, "time": when, **shown}), flush=True)
        stream.next += 1

    # ------------------------------------------------ the wire

    def send(self, packet):
        assert self.session is None or len(packet) <= self.session.limits[0]
        if random.random() >= self.loss:
            self.socket.sendto(packet, self.address)

    def receive(self, wait):
        self.socket.settimeout(max(wait, 0.001))
        try:
            packet, sender = self.socket.recvfrom(65535)
        except (TimeoutError, socket.timeout):
            return b""
        return packet if sender == self.address and random.random() >= self.loss else b""

    # ------------------------------------------------ the handshake

    def connect(self, pattern):
        old, self.session = self.session, None
        handshake, wait, sends = Handshake(self, pattern), 1.0, 0
        deadline, retried = 0.0, False
        while True:
            if time.monotonic() >= deadline:
                if sends == 4:
                    raise SystemExit("no answer")
                self.send(handshake.packet)
                deadline = time.monotonic() + wait * random.uniform(1, 1.5)
                sends, wait = sends + 1, wait * 2
            packet = self.receive(deadline - time.monotonic())
            if not packet:
                continue
            if packet[0] == 0x14 and not handshake.session and not retried:
                cookie = handshake.retry(packet)
                if cookie:
                    log("Retry: with a cookie now")
                    retried = True
                    handshake, wait, sends, deadline = Handshake(self, pattern, cookie), 1.0, 0, 0.0
            elif packet[0] == 0x12 and handshake.reply(packet):
                log(f"{pattern}: the Reply is good")
                if pattern.startswith("IK"):
                    break
                wait, sends, deadline = 1.0, 0, 0.0
            elif packet[0] & 0x80 and handshake.session:
                opened = handshake.session.open(packet)
                if opened:
                    self.session = handshake.session
                    self.restart()
                    self.handle(*opened)
                    return
            elif packet[0] & 0x80 and old:
                old.open(packet)
        self.session = handshake.session
        self.restart()
        self.send_frames(frame(F_PING, os.urandom(8)))  # proves the session

    # ------------------------------------------------ what comes in

    def handle(self, epoch, payload):
        for kind, body in read_frames(payload):
            r = Reader(body)
            if kind == F_PING:
                self.send_frames(frame(F_PONG, r.take(8)))
            elif kind == F_PONG:
                self.pongs.add(r.take(8))
            elif kind == F_ACK:
                self.session.told = max(self.session.told, r.varint())
                while r.more():
                    self.settle(r.varint(0, 15), r.varint(), r.prefixed())
            elif kind == F_CREDIT:
                self.credit = r.varint(0, 65535)
            elif kind == F_WANT_DESCRIPTORS:
                if r.varint(0, 15) in [s.index for s in self.streams]:
                    self.wanted = True
            elif kind == F_REKEYED:
                self.session.accept(epoch, r.take(32))
            elif kind == F_CLOSE:
                self.closed = r.byte()
                log(f"closed by the backend, reason {self.closed}")
            elif kind == F_REFUSED:
                self.refuse(r.varint(0, 15), r.varint(), r.varint(1, 64), r.byte())
            elif kind == F_PADDING or kind >= 64:
                continue
            elif kind != F_HINT:
                raise Malformed(f"frame {kind}")
            r.end()

    def by_index(self, index):
        return next((s for s in self.streams if index == s.index or index in s.former), None)

    def settle(self, index, cumulative, bitmap):
        stream = self.by_index(index)
        bits = int.from_bytes(bitmap, "little")
        end = cumulative + bits.bit_length() + (bits > 0)
        if stream is None or end > stream.sent_below:
            return  # it names what was never sent
        if index == stream.index:
            stream.named, self.wanted = True, False
        if cumulative >= stream.passed:
            stream.passed = 0
        for sequence in list(stream.records):
            if sequence < cumulative or (sequence > cumulative and bits >> sequence - cumulative - 1 & 1):
                del stream.records[sequence]
        for flight in list(self.flights):
            if flight.stream is stream and not any(s in stream.records for s in flight.sequences):
                self.flights.remove(flight)
                if flight.clean and time.monotonic() < flight.until:
                    self.measure(time.monotonic() - flight.at)

    def measure(self, rtt):
        if self.srtt is None:
            self.srtt, self.rttvar = rtt, rtt / 2
        else:
            self.rttvar = 0.75 * self.rttvar + 0.25 * abs(self.srtt - rtt)
            self.srtt = 0.875 * self.srtt + 0.125 * rtt
        self.doublings = 0

    def time_out(self, sent_before=0):
        rto = 1.0 if self.srtt is None else max(0.2, self.srtt + 4 * self.rttvar)
        return min(60.0, rto * 2 ** max(sent_before, self.doublings))

    def refuse(self, index, first, count, reason):
        stream = self.by_index(index)
        for sequence in range(first, first + count):
            record = stream.records.get(sequence)
            if record and record.state != "refused":
                record.state = "refused"
                stream.passed = max(stream.passed, sequence + 1)
                self.streams_at = 0.0
                self.refused.append((stream.lane, sequence, reason))
                log(f"refused: lane {stream.lane}, sequence {sequence}, reason {reason}")
        for flight in list(self.flights):
            if flight.stream is stream:
                flight.sequences = [s for s in flight.sequences if s not in range(first, first + count)]
                if not flight.sequences:
                    self.flights.remove(flight)

    # ------------------------------------------------ what goes out

    def send_frames(self, frames):
        self.send(self.session.seal(frames))

    def send_descriptors(self):
        step = self.session.limits[0] - 60
        for at in range(0, len(self.set), step):
            self.send_frames(frame(F_DESCRIPTORS, varint(self.streams[0].index) + varint(len(self.set)) + varint(at)
                                   + self.set[at:at + step]))
        self.pass_at = time.monotonic() + self.time_out() * 2 ** self.passes
        self.passes += 1
        for flight in self.flights:  # the backend had no use for it
            for sequence in flight.sequences:
                if sequence in flight.stream.records:
                    flight.stream.records[sequence].state = "queued"
        self.flights = []

    def grow(self, channels, indices):
        """Another descriptor set, which has all channels of the present one, and stream indices of its own."""
        self.set, self.wanted, self.passes, self.pass_at = descriptors(channels), False, 0, 0.0
        for stream, index in zip(self.streams, indices):
            stream.former.add(stream.index)
            stream.index, stream.named = index, False
        self.streams_at = 0.0

    def streams_frame(self):
        body = b"\x01" + varint(self.boot) + self.tag + blake2s(self.set)[:16] + varint(len(self.streams))
        for stream in self.streams:
            body += varint(stream.index) + bytes([stream.lane]) + varint(stream.oldest())
        return frame(F_STREAMS, body)

    def streams_due(self):
        """The backend has not said yet that it knows a stream, or how far one has come after a refusal."""
        waiting = any((s.records and not s.named) or s.passed for s in self.streams)
        return waiting and time.monotonic() - self.streams_at > self.time_out()

    def batch(self, stream, room):
        """The next Records frame of a stream: sequences and frame."""
        oldest, sequences, body, last = stream.oldest(), [], b"", 0
        for sequence in sorted(stream.records):
            record = stream.records[sequence]
            if record.state != "queued" or sequence >= oldest + 256:
                if sequences:
                    break
                continue
            if sequences and sequence != sequences[-1] + 1:
                break
            more = (signed(record.time - last) if sequences else b"") + record.bytes
            if len(sequences) == 64 or len(body) + len(more) > room:
                break
            body, last = body + more, record.time
            sequences.append(sequence)
        if not sequences:
            return [], b""
        first = stream.records[sequences[0]]
        return sequences, frame(F_RECORDS, varint(stream.index) + varint(sequences[0]) + varint(len(sequences))
                                + varint(first.time) + body)

    def pump(self):
        now = time.monotonic()
        for flight in [f for f in self.flights if now >= f.until]:
            self.flights.remove(flight)
            if flight.at >= self.doubled_at:
                self.doublings, self.doubled_at = self.doublings + 1, now
            for sequence in flight.sequences:
                if sequence in flight.stream.records:
                    flight.stream.records[sequence].state = "queued"
        for stream in self.streams:  # ascending lanes: alarms first
            while True:
                others = sum(f.stream.lane != 0 for f in self.flights)
                if stream.lane and (others >= max(self.credit, 1) or others >= 24) or len(self.flights) >= 32:
                    break
                sequences, records = self.batch(stream, self.session.limits[0] - 160)
                if not sequences:
                    break
                before = 0
                for sequence in sequences:
                    record = stream.records[sequence]
                    before = max(before, record.sent)
                    record.state, record.sent = "flight", record.sent + 1
                wait = self.time_out(before) * random.uniform(1, 1.5)
                self.flights.append(Flight(stream, sequences, now, now + wait, before == 0))
                stream.sent_below = max(stream.sent_below, sequences[-1] + 1)
                self.packet(records, not stream.named)
        if self.wanted and now >= self.pass_at:
            self.send_descriptors()
        if self.streams_due() or self.session.highest >= self.acked + 16:
            self.packet(b"", self.streams_due())
        if self.session.request and now >= self.rekey_at:
            self.rekey_at = now + self.time_out()
            self.send_frames(frame(F_REKEY, public_of(self.session.request)))

    def packet(self, frames, streams):
        before = frame(F_ACK, varint(max(0, self.session.highest)))
        self.acked = self.session.highest
        if streams:
            before += self.streams_frame()
            self.streams_at = time.monotonic()
        self.send_frames(before + frames)

    def run(self, done, limit=60.0):
        end = time.monotonic() + limit
        while not done():
            if time.monotonic() > end:
                raise SystemExit(f"gave up; waiting: {[(s.lane, list(s.records)[:8], s.passed) for s in self.streams]}")
            if self.closed is not None:
                raise SystemExit("closed")
            self.pump()
            packet = self.receive(0.02)
            opened = self.session.open(packet) if packet and packet[0] & 0x80 else None
            if opened:
                self.handle(*opened)

    def settled(self):
        return not any(s.passed or any(r.state != "refused" for r in s.records.values()) for s in self.streams)

    def ping(self):
        token, at = os.urandom(8), [0.0]

        def answered():
            if token not in self.pongs and time.monotonic() - at[0] > self.time_out():
                at[0] = time.monotonic()
                self.send_frames(frame(F_PING, token))
            return token in self.pongs
        self.run(answered)


NUMERIC, WAVEFORM, EVENT, ALARM = 1, 2, 3, 4
BPM, MMHG, MV, ONE = 264864, 266016, 266418, (1, 0)
CHANNELS = {
    1: descriptor(NUMERIC, 147842, [(147842, BPM, ONE, (0, 0))]),
    2: descriptor(NUMERIC, 150020, [(150021 + i, MMHG, (1, -1), (0, 0)) for i in range(3)], site=9),
    3: descriptor(WAVEFORM, 131328, [(131328, MV, (25, -4), (-1, 0))], rate=(250, 1)),
    4: descriptor(EVENT, 196616, [(0, 0, ONE, (0, 0))]),
    5: descriptor(EVENT, 196617, []),
    6: descriptor(ALARM, 196618, []),
    7: descriptor(NUMERIC, 150456, [(150456, 262688, ONE, (0, 0))], rate=(1, 2)),
    8: descriptor(WAVEFORM, 8456155, [(8456155 + i, 268768, (1, -2), (0, 0)) for i in range(3)], rate=(25, 2)),
    200: descriptor(NUMERIC, 151562, [(151562, 264928, ONE, (0, 0))]),
}
SENSOR = {9: descriptor(NUMERIC, 150364, [(150364, 268192, ONE, (0, 0)), (0, 0, ONE, (0, 0))])}  # plugged in later
WILD = [0, 2**31 - 1, -2**31, 7, -1, 2**30, -2**30, 0]


def all_kinds(d):
    """Accepts a record of each kind."""
    t = d.now_ms()
    d.accept(2, t, measurement(1, [72]), kind="measurement", channel=1, values=[72])
    d.accept(2, t + 5, measurement(2, [1205, 801, -2**31]), kind="measurement", channel=2, values=[1205, 801, -2**31])
    d.accept(2, t + 2, qualified(2, 0, [0, 1, 18], [1190, 790]), kind="qualified", channel=2, mode=0,
             states=[0, 1, 18], values=[1190, 790])
    d.accept(2, t + 3, qualified(200, 2, [0], [18]), kind="qualified", channel=200, mode=2, states=[0], values=[18])
    for coding, steps in ((0, [2000] * 3), (2, [1500] * 3), (3, [0, 7, 2**31 - 1]), (7, [2000, 2001, 1999]), (15, [0] * 3)):
        rows = [[97], [96], [98], [-5]]
        d.accept(2, t, trend(7, steps, rows, [coding], quality=coding % 4, regular=2000), kind="trend", channel=7,
                 mode=0, quality=coding % 4, steps=steps, rows=rows)
    d.accept(2, t, trend(1, [], [[60]], [0], mode=1), kind="trend", channel=1, mode=1, quality=0, steps=[], rows=[[60]])
    steps, rows = [812, 799, 2**31 - 1], [[-4], [812], [799], [2**31 - 1]]
    d.accept(2, t, trend(200, steps, rows, [3], intervals=True), kind="trend", channel=200, mode=0, quality=0,
             steps=steps, rows=rows)
    rows = [[1200 + i, 800 - i, None] for i in range(9)]
    d.accept(2, t, trend(2, [900] * 8, rows, [4, 0, ("absent", 17)]), kind="trend", channel=2, mode=0, quality=0,
             steps=[900] * 8, rows=rows)
    index = 2**40
    for coding in [0, *range(2, 16)]:
        for samples in ([round(900 * random.gauss(0, 1) ** 3) for _ in range(250)], WILD, [5, 5, 5, 5]):
            rows = [[x] for x in samples]
            d.accept(3, t, waveform(3, index, rows, [coding]), kind="waveform", channel=3, mode=0, quality=0,
                     index=index, rows=rows)
            index += len(samples)
        rows = [[round(random.gauss(0, 50)), None, i * i] for i in range(60)]
        d.accept(3, t, waveform(8, index, rows, [coding, ("absent", 18), 7]), kind="waveform", channel=8, mode=0, quality=0,
                 index=index, rows=rows)
    d.accept(1, t, event(4, 0, 2**32 - 1, -9), kind="event", channel=4, mode=0, code=2**32 - 1, value=-9)
    d.accept(1, t, event(4, 1, 0, None), kind="event", channel=4, mode=1, code=0, value=None)
    d.accept(1, t, event(5, 0, 77, None), kind="event", channel=5, mode=0, code=77, value=None)
    d.accept(1, t, gap(3, 100000, 5, 1), kind="gap", number=3, first=100000, count=5, reason=1)
    d.accept(1, t, annotation(3, 0, 67109132, 12000, "électrodes"), kind="annotation", channel=3, mode=0, code=67109132,
             span=12000, text="électrodes")
    d.accept(1, t, annotation(None, 2, 0, 2**32 - 1, ""), kind="annotation", channel=None, mode=2, code=0,
             span=2**32 - 1, text="")
    d.accept(0, t, alarm_limits(2, 0, 1, -5, 90), kind="alarm_limits", channel=2, mode=0, component=1, limits=[-5, 90])
    d.accept(0, t, alarm_limits(1, 1, 0, None, None), kind="alarm_limits", channel=1, mode=1, component=0,
             limits=[None, None])
    d.accept(1, t, extension(255, b"hello"), kind="extension", number=255, bytes=b"hello".hex())
    for phase in range(6):
        limits = [(72, 50, 120), (None, 50, None), (None,) * 3][phase % 3]
        d.accept(0, t, alarm(1, phase % 3, phase, phase % 4, phase % 2, 500 + phase, limits), kind="alarm", channel=1,
                 mode=phase % 3, phase=phase, priority=phase % 4, technical=bool(phase % 2), code=500 + phase,
                 limits=list(limits))
    d.accept(0, t, alarm(6, 0, 0, 3, 0, 9, (None,) * 3), kind="alarm", channel=6, mode=0, phase=0, priority=3,
             technical=False, code=9, limits=[None] * 3)


def many(d, n):
    for i in range(n):
        d.accept(2, d.now_ms() + i, measurement(1, [i]), kind="measurement", channel=1, values=[i])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("provision")
    p.add_argument("--loss", type=float, default=0.0, help="part of the packets to lose, each way")
    p.add_argument("--retry", action="store_true", help="fill the backend with half-open handshakes first")
    p.add_argument("--psk", action="store_true", help="XXpsk3 and IKpsk2")
    a = p.parse_args()
    with open(a.provision) as f:
        d = Device(json.load(f), a.loss, a.psk)
    suffix3, suffix2 = ("psk3", "psk2") if a.psk else ("", "")
    d.set = descriptors(CHANNELS)
    if a.retry:
        for _ in range(2):
            d.send(Handshake(d, "XX" + suffix3).hello)

    d.connect("XX" + suffix3)
    all_kinds(d)
    d.run(d.settled)
    log("first batches settled")
    d.accept(1, d.now_ms(), event(99, 0, 1, None), kind="refused")  # a channel that is not in the set
    d.run(d.settled)
    d.ping()

    session = d.session
    session.start_dh(d.static)
    d.run(lambda: session.ready)
    many(d, 300)
    d.run(d.settled)
    while not (session.epoch == 1 and session.confirmed and session.may_move()):
        d.ping()
    session.move(session.n)
    many(d, 20)
    d.run(lambda: d.settled() and session.confirmed)

    many(d, 30)  # some of these will be in flight when the set grows
    d.pump()
    d.grow({**CHANNELS, **SENSOR}, (1, 10, 4, 14))
    d.accept(2, d.now_ms(), measurement(9, [37, -5]), kind="measurement", channel=9, values=[37, -5])
    d.accept(0, d.now_ms(), alarm(9, 0, 0, 3, 0, 12, (39, None, 38)), kind="alarm", channel=9, mode=0, phase=0,
             priority=3, technical=False, code=12, limits=[39, None, 38])
    many(d, 5)
    d.run(d.settled)
    assert all(stream.named for stream in d.streams[:3]), "under the new indices"

    many(d, 50)  # some of these will be in flight when the next session begins
    d.pump()
    d.connect("IK" + suffix2)
    d.run(d.settled)
    d.ping()
    assert len(d.refused) == 1, d.refused
    for _ in range(4 if a.loss else 1):
        d.send_frames(frame(F_CLOSE, b"\x01"))
    log("done")


if __name__ == "__main__":
    main()
