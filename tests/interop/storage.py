"""What a device keeps over a power cut (SPEC.md, "Storage"): written and read. Shares no code with the Rust crate."""
import os
import struct

from crypto import Malformed, Reader, blake2s, derive, extract, nonce, prefixed, signed
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

BOOTS, DESCRIPTORS = b"storage boots", b"storage descriptors"
TICKET, PIN = b"storage ticket", b"storage pin"
NO_BOOT = bytes(8)


def aead(storage_key, salt, label):
    return ChaCha20Poly1305(derive(extract(salt, storage_key), label))


def seal_item(storage_key, label, content, about=NO_BOOT, salt=None):
    salt = salt or os.urandom(32)
    return b"\x01" + salt + aead(storage_key, salt, label).encrypt(nonce(0), content, b"\x01" + about)


def open_item(storage_key, label, item, about=NO_BOOT):
    """The content, or Malformed: such an item counts as none."""
    r = Reader(item)
    if r.byte() != 1:
        raise Malformed("version of a stored item")
    salt = r.take(32)
    try:
        return aead(storage_key, salt, label).decrypt(nonce(0), item[r.at:], b"\x01" + about)
    except InvalidTag:
        raise Malformed("stored item") from None


def about(number, tag):
    return struct.pack("<I", number) + tag


def write_boots(latest, latest_tag, boots):
    """`boots`: number, tag, place, hash of the set, salt."""
    return about(latest, latest_tag) + b"".join(
        about(number, tag) + bytes([place]) + set_hash + salt for number, tag, place, set_hash, salt in boots)


def read_boots(content):
    r, boots = Reader(content), []
    latest = struct.unpack("<I", r.take(4))[0], r.take(4)
    while r.more():
        number = struct.unpack("<I", r.take(4))[0]
        boots.append((number, r.take(4), r.byte(), r.take(16), r.take(32)))
    if len(boots) > 16 or any(boot[2] > 15 for boot in boots):
        raise Malformed("table of boots")
    return latest, boots


def seal_entry(storage_key, salt, lane, number, tag, counter, first, records):
    """`records`: times and bytes, of consecutive sequences."""
    header = bytes([1, lane]) + struct.pack("<I4sIQB", number, tag, counter, first, len(records))
    plain, last = b"", 0
    for time, record in records:
        plain, last = plain + signed(time - last) + prefixed(record), time
    return header + aead(storage_key, salt, b"storage segment").encrypt(nonce(counter * 4 + lane), plain, header)


def open_entry(storage_key, salt_of, entry):
    """Lane, number and tag of the boot, counter, first sequence and records. `salt_of` maps boots to salts."""
    header = entry[:23]
    if len(header) < 23 or header[0] != 1 or header[1] > 3 or not 1 <= header[22] <= 64:
        raise Malformed("header of an entry")
    number, tag, counter, first, count = struct.unpack("<I4sIQB", header[2:])
    if (number, tag) not in salt_of:
        raise Malformed("entry of an unknown boot")
    key = aead(storage_key, salt_of[number, tag], b"storage segment")
    try:
        r = Reader(key.decrypt(nonce(counter * 4 + header[1]), entry[23:], header))
    except InvalidTag:
        raise Malformed("entry") from None
    records, last = [], 0
    for _ in range(count):
        step = r.varint()
        last += -(step + 1) // 2 if step & 1 else step // 2
        if not 0 <= last < 2**64:
            raise Malformed("time")
        records.append((last, r.prefixed()))
    r.end()
    return header[1], number, tag, counter, first, records


def write_ticket(t):
    return (bytes([1, t["psk_proved"]]) + t["ticket"] + t["psk"] + t["service_key"] + t["backend_key"] + t["issuer"]
            + t["subject"] + struct.pack("<IQ", t["scopes"], t["end"]) + t["own_hash"])


def read_ticket(content):
    r = Reader(content)
    version, flags = r.byte(), r.byte()
    if version != 1 or flags > 1:
        raise Malformed("stored ticket")
    t = {"psk_proved": bool(flags)}
    for name, length in (("ticket", 122), ("psk", 32), ("service_key", 32), ("backend_key", 32), ("issuer", 8),
                         ("subject", 16)):
        t[name] = r.take(length)
    t["scopes"], t["end"] = struct.unpack("<IQ", r.take(12))
    t["own_hash"] = r.take(16)
    r.end()
    return t


class Flash:
    """A device's storage in a dictionary: all that a power cut leaves."""

    def __init__(self):
        self.key, self.items, self.regions = os.urandom(32), {}, {lane: [] for lane in range(4)}

    def boots(self):
        """The latest boot's number and tag, and the boots of which an entry may be stored."""
        try:
            return read_boots(open_item(self.key, BOOTS, self.items["boots"]))
        except (KeyError, Malformed):
            return (0, bytes(4)), []

    def put_boots(self, latest, boots):
        self.items["boots"] = seal_item(self.key, BOOTS, write_boots(*latest, boots))

    def store_boot(self, number, tag, descriptors, records):
        """Lists the boot, stores its set, and only then its records: lists of (sequence, time, bytes) per lane."""
        latest, boots = self.boots()
        place = next(p for p in range(16) if all(p != boot[2] for boot in boots))
        salt = os.urandom(32)
        self.items[f"descriptors {place}"] = seal_item(self.key, DESCRIPTORS, descriptors, about(number, tag))
        self.put_boots(latest, [*boots, (number, tag, place, blake2s(descriptors)[:16], salt)])
        counter = 0
        for lane, waiting in records.items():
            while waiting:
                run = [waiting.pop(0)]
                while waiting and len(run) < 64 and waiting[0][0] == run[-1][0] + 1:
                    run.append(waiting.pop(0))
                self.regions[lane].append(seal_entry(self.key, salt, lane, number, tag, counter, run[0][0],
                                                     [(time, record) for _, time, record in run]))
                counter += 1

    def read_boot(self, boot):
        """The descriptor set and, per lane, the (sequence, time, bytes) of a listed boot."""
        number, tag, place, set_hash, salt = boot
        descriptors = open_item(self.key, DESCRIPTORS, self.items[f"descriptors {place}"], about(number, tag))
        assert blake2s(descriptors)[:16] == set_hash
        records = {}
        for lane, entries in self.regions.items():
            for entry in entries:
                if entry[2:10] == about(number, tag):
                    of_lane, _, _, _, first, read = open_entry(self.key, {(number, tag): salt}, entry)
                    assert of_lane == lane
                    records.setdefault(lane, []).extend((first + i, *record) for i, record in enumerate(read))
        return descriptors, records

    def trim(self, number, tag):
        """Nothing of the boot is stored any more."""
        for lane, entries in self.regions.items():
            self.regions[lane] = [entry for entry in entries if entry[2:10] != about(number, tag)]
        latest, boots = self.boots()
        self.put_boots(latest, [boot for boot in boots if boot[:2] != (number, tag)])
