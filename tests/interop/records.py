"""Records, blocks and descriptors, encoded as in SPEC.md, "Records". Shares no code with the Rust crate."""
from crypto import fold, prefixed, signed, varint


class Bits:
    def __init__(self):
        self.text = ""

    def put(self, n, width):
        if width:
            self.text += format(n & (1 << width) - 1, f"0{width}b")

    def sized(self, n):
        width = max(1, (n if n >= 0 else ~n).bit_length() + 1)
        self.put(width - 1, 5)
        self.put(n, width)

    def coded(self, numbers, k0):
        """The first parameter and the Rice codes."""
        k0 = k_of(numbers) if k0 is None else k0
        self.put(k0, 5)
        m = 8 << k0
        for u in numbers:
            k = max(0, (m // 8).bit_length() - 1)
            q = u >> k
            if q < 20:
                self.text += "1" * q + "0"
                self.put(u, k)
            else:
                self.text += "1" * 20
                self.put(u, 32)
            m += u - m // 8

    def bytes(self):
        self.text += "0" * (-len(self.text) % 8)
        return bytes(int(self.text[i:i + 8], 2) for i in range(0, len(self.text), 8))


def wrap(n):
    return (n + 2**31) % 2**32 - 2**31


def k_of(us):
    mean = sum(us[:8]) // max(1, len(us[:8]))
    return max(0, mean.bit_length() - 1)


def block(xs, coding, mode, quality, timing=None, k0=None, k0_steps=None):
    """`coding` is 0 for raw, or the order + 1. `timing`: the steps, and the one that the rate gives."""
    b = Bits()
    for n, width in ((mode, 2), (quality, 2), (coding, 3), (len(xs) - 1, 10)):
        b.put(n, width)
    if timing is not None:
        steps, regular = timing
        if all(s == regular for s in steps):
            b.put(0, 2)
        elif len(set(steps)) == 1:
            b.put(1, 2)
            b.sized(steps[0])
        else:
            b.put(2, 2)
            b.sized(steps[0])
            changes = [fold(q - p) for p, q in zip(steps, steps[1:])]
            b.coded(changes, k0_steps)
    if coding == 0:
        width = max((x if x >= 0 else ~x).bit_length() + 1 for x in xs)
        b.put(width - 1, 5)
        for x in xs:
            b.put(x, width)
        return b.bytes()
    us = []
    for i in range(1, len(xs)):
        r = min(coding - 1, i)
        p = [0, xs[i - 1], 2 * xs[i - 1] - xs[i - 2], 3 * xs[i - 1] - 3 * xs[i - 2] + xs[i - 3]][r]
        us.append(fold(wrap(xs[i] - p)))
    b.sized(xs[0])
    b.coded(us, k0)
    return b.bytes()


def head(kind, number):
    return bytes([kind << 5 | number]) if number < 31 else bytes([kind << 5 | 31]) + varint(number)


def measurement(channel, values):
    return head(0, channel) + b"".join(map(signed, values))


def qualified(channel, mode, states, values):
    return head(1, channel) + bytes([mode, *states]) + b"".join(map(signed, values))


def trend(channel, steps, values, coding, mode=0, quality=0, regular=None, **k0):
    return head(2, channel) + block(values, coding, mode, quality, (steps, regular), **k0)


def waveform(channel, index, samples, coding, mode=0, quality=0, **k0):
    return head(3, channel) + varint(index) + block(samples, coding, mode, quality, **k0)


def event(channel, mode, code, value):
    out = head(4, channel) + bytes([mode | (value is not None) << 2]) + varint(code)
    return out + (signed(value) if value is not None else b"")


def alarm(channel, mode, phase, priority, technical, code, limits):
    """`limits`: value, low limit, high limit; each may be None."""
    out = head(5, channel) + bytes([mode | phase << 2 | priority << 5 | technical << 7])
    out += bytes([sum(1 << i for i, v in enumerate(limits) if v is not None)]) + varint(code)
    return out + b"".join(signed(v) for v in limits if v is not None)


def gap(number, first, count, reason):
    return head(6, number) + varint(first) + varint(count) + bytes([reason])


def extension(kind, body):
    return head(7, kind) + prefixed(body)


def annotation(channel, mode, code, span, text):
    """`channel` may be None."""
    body = bytes([mode | (channel is not None) << 2]) + (bytes([channel]) if channel is not None else b"")
    return extension(1, body + varint(code) + varint(span) + text.encode())


def alarm_limits(channel, mode, component, low, high):
    """`low` and `high` may be None."""
    body = bytes([channel, mode | (low is not None) << 2 | (high is not None) << 3 | component << 4])
    return extension(2, body + b"".join(signed(v) for v in (low, high) if v is not None))


def descriptor(kind, metric, components, rate=None, site=0):
    out = bytes([kind]) + varint(metric) + varint(site)
    out += varint(rate[0]) + varint(rate[1]) if rate else varint(0)
    out += bytes([len(components)])
    for metric, unit, scale, offset in components:
        out += varint(metric) + varint(unit) + b"".join(signed(m) + signed(e) for m, e in (scale, offset))
    return out


def descriptors(channels):
    return b"\x01" + b"".join(varint(n) + prefixed(d) for n, d in sorted(channels.items()))
