"""What the backend asks of a device: commands, the time, when to listen (SPEC.md, "Commands" to "Listening")."""
import time

from crypto import Malformed, Reader, varint
from session import F_LISTEN, F_RESULT, F_TIME, frame

OUT_OF_SCOPE, OTHER_BOOT, TOO_LATE, SUPERSEDED = 1, 2, 3, 4


class Commands:
    """Those of one session."""

    def __init__(self, device):
        self.device, self.highest, self.results = device, 0, {}
        self.copies = 0

    def handle(self, body):
        """The frame to answer with, at once."""
        r, device = Reader(body), self.device
        number, boot, tag, deadline = r.varint(1), r.varint(0, 2**32 - 1), r.take(4), r.varint()
        kind, body = r.varint(0, 65535), body[r.at:]
        if len(body) > 256:
            raise Malformed("body of a command")
        if number in self.results:
            self.copies += 1
            return self.results[number]
        if number < self.highest:
            return frame(F_RESULT, varint(number) + bytes([2, SUPERSEDED]))
        bit = 4 if kind < 32768 else 5
        if not (device.peer["scopes"] & device.scopes) >> bit & 1:
            status = bytes([2, OUT_OF_SCOPE])
        elif (boot, tag) != (device.live.number, device.live.tag):
            status = bytes([2, OTHER_BOOT])
        elif deadline <= device.now_ms():
            status = bytes([2, TOO_LATE])
        else:
            status = b"\x00" + device.execute(kind, body)[:64]
        self.highest = number
        self.results[number] = frame(F_RESULT, varint(number) + status)
        for old in sorted(self.results)[:-4]:
            del self.results[old]
        return self.results[number]


class Clocks:
    """TimeSync of one session."""

    def __init__(self, device):
        self.device, self.heard, self.asked, self.wall, self.answers = device, None, {}, None, 0

    def frame(self, ask=False):
        now = self.device.now_ms()
        flags = ask | 2 | (4 if self.heard else 0)
        body = bytes([flags]) + varint(now) + varint(self.device.live.number) + self.device.live.tag
        if self.heard:
            sent, arrived = self.heard
            body += varint(sent) + varint(now - arrived)
        if ask:
            self.asked[now] = time.monotonic()
        return frame(F_TIME, body)

    def handle(self, body):
        """True if it asks."""
        r, now = Reader(body), self.device.now_ms()
        flags, sent = r.byte(), r.varint()
        if flags & 0xF2:
            raise Malformed("flags of a TimeSync frame")
        echo = (r.varint(), r.varint()) if flags & 4 else None
        wall = (r.varint(0, 2**45 - 1), r.byte(), r.varint(0, 2**32 - 1)) if flags & 8 else None
        r.end()
        if wall and wall[1] > 3:
            raise Malformed("quality of a clock")
        self.heard = sent, now
        if echo and wall and echo[0] in self.asked:
            away = int((time.monotonic() - self.asked[echo[0]]) * 1000) + 1
            if echo[1] <= away:
                self.wall = wall[0], wall[1], wall[2], away - echo[1]  # and the round trip
        self.answers += flags & 1
        return bool(flags & 1)


class Listening:
    """The window that was told to the backend."""

    def __init__(self):
        self.window, self.since, self.told = 0, None, True

    def tell(self, window):
        self.window, self.since, self.told = window, None, False

    def frame(self, counter):
        """For the packet with this counter, until an Ack shows that the backend has one of them."""
        if self.told:
            return b""
        self.since = counter if self.since is None else self.since
        return frame(F_LISTEN, varint(self.window))

    def acked(self, highest):
        self.told = self.told or (self.since is not None and highest >= self.since)
