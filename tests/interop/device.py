#!/usr/bin/env python3
"""A Vitalwire device over UDP, written from SPEC.md alone: it shares no code with the Rust crate.

    device.py PROVISION.json [--loss 0.2] [--retry] [--psk] [--resume]

PROVISION.json comes from `udp_backend --provision`. The device enrols with XX (or XXpsk3) over UDP, delivers records of
every kind, moves through a Diffie-Hellman and a hash ratchet, comes back with IK (or IKpsk2) and closes. With --resume it
does what needs `udp_backend --tickets --command TEXT`, and loses its power once; flows.py has both. Every record that it
accepts is printed to standard output as one line of JSON, as the backend should print it.
Needs Python 3.9 and `cryptography`. No product: keys lie in a file, and its storage is a dictionary.
"""
import argparse
import json
import os
import random
import socket
import time
from dataclasses import dataclass, field

import flows
import tickets
from crypto import Malformed, Reader, blake2s, public_of, signed, varint
from downlink import Clocks, Commands, Listening
from session import (F_ACK, F_CLOSE, F_COMMAND, F_CREDIT, F_DESCRIPTORS, F_HINT, F_PADDING, F_PING, F_PONG, F_RECORDS,
                     F_REFUSED, F_REKEY, F_REKEYED, F_STREAMS, F_TICKET, F_TIME, F_WANT_DESCRIPTORS, Handshake, Verifier,
                     frame, log, read_frames)
from storage import TICKET, Flash, open_item, read_ticket, seal_item, write_ticket


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
class Boot:
    number: int
    tag: bytes
    set: bytes
    streams: list
    wanted: bool = False  # the backend asks for the set
    passes: int = 0
    pass_at: float = 0.0


@dataclass
class Flight:
    stream: Stream
    sequences: list
    at: float
    until: float
    clean: bool  # no record in it was sent before


class Device:
    def __init__(self, config, loss, psk, flash=None):
        decode = {k: bytes.fromhex(v) for k, v in config.items() if isinstance(v, str) and k != "address"}
        self.config, self.authority, self.static, self.credential = (
            config, decode["authority"], decode["device_secret"], decode["device_credential"])
        r = Reader(self.credential[9:])
        r.varint(), r.take(17)
        self.scopes = r.varint()
        self.verifier = Verifier(self.authority, (blake2s(self.authority)[:8], decode["backend_subject"]))
        self.psk, self.psk_id = (decode["psk"], decode["psk_id"]) if psk else (None, b"")
        self.pinned = self.backend_credential = self.peer = None
        host, port = config["address"].rsplit(":", 1)
        self.address, self.loss = (host, int(port)), loss
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.session, self.closed, self.old_closed = None, None, None
        self.refused, self.executed, self.withhold = [], [], 0
        self.sent_at = self.heard_at = 0.0
        self.ticket, self.misused = None, False
        self.boot_up(flash or Flash())
        self.restart()

    # ------------------------------------------------ boots and storage

    def boot_up(self, flash):
        """Gives the boot its number, and finds what an earlier one has left."""
        self.flash, self.booted = flash, time.monotonic()
        (latest, _), earlier = flash.boots()
        self.live = Boot(latest + 1, os.urandom(4), b"",
                         [Stream(lane, index) for lane, index in ((0, 3), (1, 9), (2, 0), (3, 15))])
        flash.put_boots((self.live.number, self.live.tag), earlier)
        self.boots, free = [self.live], [5, 6, 7, 8]
        for boot in earlier:
            descriptors, records = flash.read_boot(boot)
            streams = []
            for lane, run in sorted(records.items()):
                stream = Stream(lane, free.pop(0), next=run[-1][0] + 1, sent_below=2**64)  # any may have been sent
                stream.records = {sequence: Record(time, record, sent=1) for sequence, time, record in run}
                streams.append(stream)
            self.boots.append(Boot(boot[0], boot[1], descriptors, streams))
            log(f"boot {boot[0]} has left records of lanes {[stream.lane for stream in streams]}")
        if "ticket" in flash.items:
            self.ticket = read_ticket(open_item(flash.key, TICKET, flash.items["ticket"]))

    def power_cut(self):
        """Stores what waits, and returns the device as it comes up again."""
        records = {stream.lane: [(sequence, record.time, record.bytes) for sequence, record in
                                 sorted(stream.records.items()) if record.state != "refused"]
                   for stream in self.live.streams}
        self.flash.store_boot(self.live.number, self.live.tag, self.live.set, records)
        self.socket.close()
        log("power cut")
        return Device(self.config, self.loss, self.psk is not None, self.flash)

    def forget_ticket(self):
        self.ticket = None
        self.flash.items.pop("ticket", None)

    def all_streams(self):
        """Lanes in their order; within one what is live goes before what an earlier boot has left."""
        return sorted((s for boot in self.boots for s in boot.streams), key=lambda s: (s.lane, s not in self.live.streams))

    def restart(self):
        """What belongs to a session."""
        self.credit, self.flights, self.srtt, self.rttvar, self.doublings = 8, [], None, None, 0
        self.doubled_at = self.streams_at = self.rekey_at = 0.0
        self.pongs, self.acked, self.ack_due = set(), -1, False
        self.commands, self.clocks, self.listening = Commands(self), Clocks(self), Listening()
        for boot in self.boots:
            boot.wanted, boot.passes, boot.pass_at = False, 0, 0.0
        for stream in self.all_streams():
            stream.named, stream.former = False, set()
            for record in stream.records.values():
                if record.state == "flight":
                    record.state, record.sent = "queued", 1

    def now_ms(self):
        return int((time.monotonic() - self.booted) * 1000)

    def accept(self, lane, when, encoded, **shown):
        stream = self.live.streams[lane]
        stream.records[stream.next] = Record(when, encoded)
        print(json.dumps({"boot": self.live.number, "lane": lane, "sequence": stream.next, "time": when, **shown}),
              flush=True)
        stream.next += 1

    def execute(self, kind, body):
        self.executed.append((kind, body))
        log(f"command of kind {kind}: {body}")
        return body.upper()

    # ------------------------------------------------ the wire

    def send(self, packet):
        assert self.session is None or len(packet) <= self.session.limits[0]
        self.sent_at = time.monotonic()
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

    def early(self):
        """The frames for a resumption's Hello, of the present boot alone, and what is in them."""
        frames, taken = self.streams_frame([self.live]), []
        for stream in self.live.streams:
            room = tickets.Resumption.room() - len(frames) - 18
            sequences, records = self.batch(stream, room)
            if sequences:
                frames += records
                taken.append((stream, sequences))
                stream.sent_below = max(stream.sent_below, sequences[-1] + 1)
        return (frames, taken) if taken else (b"", [])

    def connect(self, pattern, ticket=None, copies=1):
        """Makes a session: by resumption, if there is a ticket that may be used, or else with `pattern`. Returns the
        pattern that it came to. `copies`: how often to send each Hello."""
        old, self.session = self.session, None
        self.restart()
        early, handshake = [], None
        if ticket and tickets.is_usable(ticket, self):
            frames, early = self.early()
            self.forget_ticket()
            handshake = tickets.Resumption(self, ticket, frames)
        handshake, wait, sends = handshake or Handshake(self, pattern), 1.0, 0
        deadline, retried = 0.0, False
        while True:
            if time.monotonic() >= deadline:
                if sends == handshake.sends:
                    if handshake.pattern != "NNpsk0":
                        raise SystemExit("no answer")
                    log("no answer to the resumption")
                    handshake, wait, sends, early = self.fall_back(pattern, early), 1.0, 0, []
                for _ in range(copies):
                    self.send(handshake.packet)
                deadline = time.monotonic() + wait * random.uniform(1, 1.5)
                sends, wait = sends + 1, wait * 2
            packet = self.receive(deadline - time.monotonic())
            if not packet:
                continue
            if packet[0] == 0x14 and not handshake.session and not retried:
                cookie = handshake.retry(packet)
                if cookie:
                    log(f"Retry of {handshake.pattern}: {pattern} with a cookie now")
                    retried = True
                    handshake, early = self.fall_back(pattern, early, cookie), []
                    wait, sends, deadline = 1.0, 0, 0.0
            elif packet[0] == 0x12 and handshake.reply(packet):
                log(f"{handshake.pattern}: the Reply is good")
                if handshake.two_messages:
                    break
                wait, sends, deadline = 1.0, 0, 0.0
            elif packet[0] & 0x80 and handshake.session:
                opened = handshake.session.open(packet)
                if opened:
                    self.session = handshake.session
                    self.restart()
                    self.handle(*opened)
                    return handshake.pattern
            elif packet[0] & 0x80 and old:
                opened = old.open(packet)
                if opened and F_CLOSE in dict(read_frames(opened[1])):
                    self.old_closed = dict(read_frames(opened[1]))[F_CLOSE][0]
        self.session = handshake.session
        self.restart()
        now = time.monotonic()
        for stream, sequences in early:  # they count as sent in a packet before the first one
            for sequence in sequences:
                record = stream.records[sequence]
                record.state, record.sent = "flight", record.sent + 1
            self.flights.append(Flight(stream, sequences, now, now + self.time_out() * random.uniform(1, 1.5), False))
        self.streams_at = now if early else 0.0
        self.send_frames(frame(F_PING, os.urandom(8)))  # proves the session
        return handshake.pattern

    def fall_back(self, pattern, early, cookie=b""):
        for stream, sequences in early:
            for sequence in sequences:
                stream.records[sequence].sent = 1
        return Handshake(self, pattern, cookie)

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
                self.listening.acked(self.session.told)
                while r.more():
                    self.settle(r.varint(0, 15), r.varint(), r.prefixed())
            elif kind == F_CREDIT:
                self.credit = r.varint(0, 65535)
            elif kind == F_WANT_DESCRIPTORS:
                index = r.varint(0, 15)
                for boot in self.boots:
                    boot.wanted |= index in [s.index for s in boot.streams]
            elif kind == F_REKEYED:
                self.session.accept(epoch, r.take(32))
            elif kind == F_CLOSE:
                self.closed = r.byte()
                if self.closed in (3, 10, 11):
                    self.forget_ticket()
                log(f"closed by the backend, reason {self.closed}")
            elif kind == F_TICKET:
                ticket, misused = tickets.read_frame(r.take(len(body)), self.session, self)
                self.ack_due = True
                if epoch == self.session.epoch:
                    self.ticket, self.misused = ticket, misused
                    self.flash.items["ticket"] = seal_item(self.flash.key, TICKET, write_ticket(ticket))
            elif kind == F_COMMAND:
                result = self.commands.handle(r.take(len(body)))
                if self.withhold:
                    self.withhold -= 1  # as if it were lost
                else:
                    self.send_frames(result)
            elif kind == F_TIME:
                if self.clocks.handle(r.take(len(body))):
                    self.send_frames(self.clocks.frame())
            elif kind == F_REFUSED:
                self.refuse(r.varint(0, 15), r.varint(), r.varint(1, 64), r.byte())
            elif kind == F_PADDING or kind >= 64:
                continue
            elif kind != F_HINT:
                raise Malformed(f"frame {kind}")
            r.end()

    def by_index(self, index):
        return next((s for s in self.all_streams() if index == s.index or index in s.former), None)

    def settle(self, index, cumulative, bitmap):
        stream = self.by_index(index)
        bits = int.from_bytes(bitmap, "little")
        end = cumulative + bits.bit_length() + (bits > 0)
        if stream is None or end > stream.sent_below:
            return  # it names what was never sent, or what is trimmed
        if index == stream.index:
            stream.named = True
            for boot in self.boots:
                boot.wanted = boot.wanted and stream not in boot.streams
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
        """Seals and sends a packet, with what rides on any that has room."""
        if frames[:1] != bytes([F_ACK | 0x80]) and self.ack_due:
            frames = self.ack() + frames
        listen = self.listening.frame(self.session.next_counter)
        if len(frames) + len(listen) + 40 > self.session.limits[0]:
            listen, self.listening.since = b"", None
        self.send(self.session.seal(listen + frames))
        if self.session.healed:  # a DH ratchet has committed
            self.session.healed = False
            self.forget_ticket()

    def ack(self):
        self.acked, self.ack_due = self.session.highest, False
        return frame(F_ACK, varint(max(0, self.session.highest)))

    def send_descriptors(self, boot):
        step = self.session.limits[0] - 60
        for at in range(0, len(boot.set), step):
            self.send_frames(frame(F_DESCRIPTORS, varint(boot.streams[0].index) + varint(len(boot.set)) + varint(at)
                                   + boot.set[at:at + step]))
        boot.pass_at = time.monotonic() + self.time_out() * 2 ** boot.passes
        boot.passes += 1
        for flight in [f for f in self.flights if f.stream in boot.streams]:  # the backend had no use for it
            for sequence in flight.sequences:
                if sequence in flight.stream.records:
                    flight.stream.records[sequence].state = "queued"
            self.flights.remove(flight)

    def grow(self, channels, indices):
        """Another descriptor set, which has all channels of the present one, and stream indices of its own."""
        boot = self.live
        boot.set, boot.wanted, boot.passes, boot.pass_at = flows.descriptors(channels), False, 0, 0.0
        for stream, index in zip(boot.streams, indices):
            stream.former.add(stream.index)
            stream.index, stream.named = index, False
        self.streams_at = 0.0

    def streams_frame(self, boots=None):
        """Complete only if nothing of an earlier boot may be stored."""
        body = bytes([len(self.boots) == 1])
        for boot in boots or self.boots:
            body += varint(boot.number) + boot.tag + blake2s(boot.set)[:16] + varint(len(boot.streams))
            for stream in boot.streams:
                body += varint(stream.index) + bytes([stream.lane]) + varint(stream.oldest())
        return frame(F_STREAMS, body)

    def trim(self):
        """Forgets earlier boots of which nothing waits any more, and then names the streams once more."""
        for boot in [b for b in self.boots[1:] if not any(s.records for s in b.streams)]:
            self.flash.trim(boot.number, boot.tag)
            self.boots.remove(boot)
            log(f"boot {boot.number} is delivered")
            if len(self.boots) == 1:
                self.packet(b"", True)

    def streams_due(self):
        """The backend has not said yet that it knows a stream, or how far one has come after a refusal."""
        waiting = any((s.records and not s.named) or s.passed for s in self.all_streams())
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
        for stream in self.all_streams():  # ascending lanes: alarms first
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
        for boot in self.boots:
            if boot.wanted and now >= boot.pass_at:
                self.send_descriptors(boot)
        if self.streams_due() or self.session.highest >= self.acked + 16:
            self.packet(b"", self.streams_due())
        if self.session.request and now >= self.rekey_at:
            self.rekey_at = now + self.time_out()
            self.send_frames(frame(F_REKEY, public_of(self.session.request)))

    def packet(self, frames, streams):
        before = self.ack()
        if streams:
            before += self.streams_frame()
            self.streams_at = time.monotonic()
        self.send_frames(before + frames)

    def run(self, done, limit=60.0):
        end = time.monotonic() + limit
        while not done():
            if time.monotonic() > end:
                raise SystemExit(f"gave up; waiting: {[(s.lane, list(s.records)[:8], s.passed) for s in self.all_streams()]}")
            if self.closed is not None:
                raise SystemExit("closed")
            self.pump()
            packet = self.receive(0.02)
            opened = self.session.open(packet) if packet and packet[0] & 0x80 else None
            if opened:
                self.heard_at = time.monotonic()
                self.handle(*opened)
                self.trim()

    def drain(self, seconds):
        """Sends nothing for a while, and takes what comes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            packet = self.receive(0.02)
            opened = self.session.open(packet) if packet and packet[0] & 0x80 else None
            if opened:
                self.heard_at = time.monotonic()
                self.handle(*opened)

    def settled(self):
        return not any(s.passed or any(r.state != "refused" for r in s.records.values()) for s in self.all_streams())

    def ping(self):
        token, at = os.urandom(8), [0.0]

        def answered():
            if token not in self.pongs and time.monotonic() - at[0] > self.time_out():
                at[0] = time.monotonic()
                self.send_frames(frame(F_PING, token))
            return token in self.pongs
        self.run(answered)

    def run_with_pings(self, done):
        """For what the backend sends only on packets that it sends anyway."""
        at = [time.monotonic()]

        def asked():
            if time.monotonic() - at[0] > self.time_out():
                at[0] = time.monotonic()
                self.send_frames(frame(F_PING, os.urandom(8)))
            return done()
        self.run(asked)

    def sync(self):
        """Asks for the time until it is answered."""
        at = [0.0]

        def answered():
            if not self.clocks.wall and time.monotonic() - at[0] > self.time_out():
                at[0] = time.monotonic()
                self.send_frames(self.clocks.frame(ask=True))
            return self.clocks.wall
        self.run(answered)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("provision")
    p.add_argument("--loss", type=float, default=0.0, help="part of the packets to lose, each way")
    p.add_argument("--retry", action="store_true", help="fill the backend with half-open handshakes first")
    p.add_argument("--psk", action="store_true", help="XXpsk3 and IKpsk2")
    p.add_argument("--resume", action="store_true", help="tickets, commands, clocks, a power cut")
    a = p.parse_args()
    with open(a.provision) as f:
        d = Device(json.load(f), a.loss, a.psk)
    d = flows.resuming(d) if a.resume else flows.enrolling(d, a.retry)
    for _ in range(4 if a.loss else 1):
        d.send_frames(frame(F_CLOSE, b"\x01"))
    log("done")


if __name__ == "__main__":
    main()
