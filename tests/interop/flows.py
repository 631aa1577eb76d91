"""What the device does in a run, in the ways of run.py; and the records that it makes up."""
import random
import time

from records import (alarm, alarm_limits, annotation, descriptor, descriptors, event, extension, gap, measurement, qualified,
                     trend, waveform)
from session import Handshake, log

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


def enrolling(d, crowd):
    """XX, records of every kind, both ratchets, a set that grows, IK. `crowd`: half-open handshakes first."""
    suffix3, suffix2 = ("psk3", "psk2") if d.psk else ("", "")
    d.live.set = descriptors(CHANNELS)
    if crowd:
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
    assert all(stream.named for stream in d.live.streams[:3]), "under the new indices"

    many(d, 50)  # some of these will be in flight when the next session begins
    d.pump()
    d.connect("IK" + suffix2)
    d.run(d.settled)
    d.ping()
    assert len(d.refused) == 1, d.refused
    return d


def few(d, n=3):
    """An alarm, and measurements behind it."""
    d.accept(0, d.now_ms(), alarm(6, 0, 0, 3, 0, n, (None,) * 3), kind="alarm", channel=6, mode=0, phase=0, priority=3,
             technical=False, code=n, limits=[None] * 3)
    many(d, n)


def quiet(d):
    """Runs until all is settled, this session's command is done and a ticket for the next one is there. Where packets
    are lost, a session can go without a ticket: the backend does not learn that it was in a lost one."""
    d.run_with_pings(lambda: d.settled() and d.commands.results and (d.ticket or d.loss))
    d.ping()


def comes_to(d, expected, pattern, ticket=None, copies=1):
    """Connects. Where packets are lost, a resumption may become a full handshake and the other way round."""
    made = d.connect(pattern, ticket, copies)
    if made != expected:
        if not d.loss:
            raise SystemExit(f"came to {made} instead of {expected}")
        log(f"came to {made} instead of {expected}")


def need(d, truth, what):
    """Where packets are lost, only what does not hang on a single one is asked for."""
    if not truth and not d.loss:
        raise SystemExit(f"not so: {what}")


def resuming(d):
    """Tickets used well, twice, and damaged; commands; clocks; a window; a power cut. Needs `udp_backend --tickets
    --command TEXT`."""
    xx, ik = ("XXpsk3", "IKpsk2") if d.psk else ("XX", "IK")
    d.live.set = descriptors(CHANNELS)

    comes_to(d, xx, xx)
    few(d)
    quiet(d)
    need(d, d.clocks.answers, "the backend asked for a stamp before its command")
    need(d, not d.misused, "a first ticket tells of no misuse")
    d.sync()
    wall, quality, error, round_trip = d.clocks.wall
    need(d, quality == 3 and abs(wall - time.time() * 1000) <= error + round_trip + 100, "the time is right")

    log("resumption, with early records and every Hello twice")
    few(d)
    early = [record for stream in d.live.streams for record in stream.records.values()]
    d.withhold = 1
    comes_to(d, "NNpsk0", ik, d.ticket, copies=2)
    quiet(d)
    need(d, all(record.sent == 1 for record in early), "early records came with the Hello")

    log("a command whose result is lost, while the device listens at times")
    d.listening.tell(800)
    d.ping()
    need(d, d.listening.told, "an Ack covers a packet with the window")
    d.drain(3.0)
    need(d, d.heard_at <= d.sent_at + 0.6, f"silence outside of the window; heard {d.heard_at - d.sent_at:.3f} s after")
    need(d, d.commands.copies == 0, "the command waits")
    d.ping()
    d.run_with_pings(lambda: d.commands.copies or d.loss)
    d.listening.tell(0)
    d.ping()

    log("a ticket of a session with a DH ratchet")
    d.session.start_dh(d.static)
    d.run(lambda: d.session.ready)
    before = d.ticket
    d.ping()
    d.run_with_pings(lambda: d.session.epoch == 1 and (d.ticket or d.loss))
    need(d, d.ticket is not before, "the ticket of before the ratchet is forgotten")
    stolen = d.ticket and dict(d.ticket)
    comes_to(d, "NNpsk0", ik, d.ticket)
    quiet(d)

    log("the same ticket again, in another Hello")
    few(d)
    comes_to(d, ik, ik, stolen)
    quiet(d)
    need(d, d.misused, "the next ticket tells that one was used twice")
    need(d, d.old_closed == 11, "the session with the ticket's origin was closed with reason 11")
    comes_to(d, "NNpsk0", ik, d.ticket)
    quiet(d)
    need(d, not d.misused, "it is told until a later ticket is used")

    log("a ticket that does not open")
    few(d)
    comes_to(d, ik, ik, d.ticket and {**d.ticket, "ticket": d.ticket["ticket"][:50] + bytes(72)})
    quiet(d)

    log("a ticket whose psk is wrong")
    few(d)
    comes_to(d, ik, ik, d.ticket and {**d.ticket, "psk": bytes(32)})
    quiet(d)

    many(d, 200)
    d.pump()  # some are in flight
    few(d)
    boot, done = d.live.number, len(d.executed)
    before = d
    d = d.power_cut()
    d.live.set = descriptors({**SENSOR, 6: CHANNELS[6], 1: CHANNELS[4 + 3]})
    need(d, d.live.number == boot + 1 and len(d.boots) == 2 and d.ticket, "the storage is read back")
    few(d)
    # What is stored of the backend is in the ticket: without one it has to be met anew.
    comes_to(d, "NNpsk0", ik if d.ticket else xx, d.ticket)
    few(d)
    quiet(d)
    d.run(lambda: len(d.boots) == 1)
    need(d, len(d.boots) == 1 and not d.flash.boots()[1], "the earlier boot is trimmed")
    d.ping()
    few(d)  # with these the backend hands out the closed streams
    quiet(d)
    executed = [*before.executed[:done], *d.executed]
    if len(executed) != 8 or len(set(executed)) != 1:
        raise SystemExit(f"not so: one command in each of 8 sessions, each done once: {executed}")
    return d
