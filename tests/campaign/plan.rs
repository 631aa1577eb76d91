//! What happens in one run, drawn from its seed before it starts.

use crate::kit::{Rng, ms};
use crate::link::Faults;
use crate::storage::Mishap;
use vitalwire::delivery::LanePolicy;
use vitalwire::{Duration, Instant};

/// One run.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) units: Vec<UnitPlan>,
    /// In order of time.
    pub(crate) actions: Vec<(Instant, Action)>,
    /// From here on nothing goes wrong any more, and nothing is recorded but alarms.
    pub(crate) calm: Instant,
    pub(crate) end: Instant,
    /// Milliseconds of the application, as long as it is not slow.
    pub(crate) accept_delay: (u64, u64),
    pub(crate) commit_delay: (u64, u64),
    pub(crate) job_delay: (u64, u64),
    /// The service gives tickets.
    pub(crate) tickets: bool,
}

/// A device, and the link that it has.
#[derive(Debug, Clone)]
pub(crate) struct UnitPlan {
    pub(crate) pinned: bool,
    pub(crate) psk: bool,
    pub(crate) connection_id: usize,
    /// Bytes that the link's pieces carry, where it takes no whole packets.
    pub(crate) piece: Option<u16>,
    pub(crate) max_packet: u16,
    /// Bytes that the link carries in a millisecond.
    pub(crate) speed: u64,
    pub(crate) faults: Faults,
    pub(crate) outbox: usize,
    pub(crate) linger: u64,
    /// Records per second, of each lane, in thousandths.
    pub(crate) pace: [u64; 4],
    pub(crate) channels: u8,
    /// It has storage, which survives.
    pub(crate) storage: bool,
    /// For how long its radio is on after each of its packets, in milliseconds, if it is off otherwise.
    pub(crate) listen: Option<u64>,
    /// What its lanes do when they are full.
    pub(crate) policies: [LanePolicy; 4],
    /// Bytes of trends, and of waveforms, that its storage takes.
    pub(crate) capacity: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// The application has records; which, the pace says.
    Records(usize),
    Alarm(usize),
    /// The link is like this for a while.
    Link(usize, Faults, Duration),
    /// Packets of another size, or pieces.
    Resize(usize, u16),
    /// The device's radio knows that there is no link.
    Down(usize, Duration),
    /// Nobody calls the device, and it hears nothing.
    Sleep(usize, Duration),
    /// Its memory is gone; it starts again after a while.
    PowerCut(usize, Duration),
    /// So many requests to its storage from now, that one fails, or the power goes with it.
    Mishap(usize, u64, Mishap),
    /// Its packets come from another path.
    Roam(usize),
    /// Its packets come from two paths by turns.
    TwoPaths(usize, Duration),
    Rekey(usize),
    Reconnect(usize),
    /// A node dies, and is back after a while.
    Restart(usize, Duration),
    /// From now on the packets of a device go to this node.
    Switch(usize, usize),
    Hint(usize),
    Disconnect(usize),
    /// The application takes long, and fails to store this share.
    Slow(Duration, f64),
    /// The store of claims does not answer.
    NoClaims(Duration),
    /// New tickets are sealed with another key.
    RotateTickets,
    /// The service has a device do something, within a time, of which its application takes so much.
    Command(usize, Duration, Duration),
    Heal,
}

pub(crate) const NODES: usize = 2;
/// Boots of one device in one run: the ledger has room for the streams of so many.
pub(crate) const MAX_BOOTS: usize = 5;
const TICK: u64 = 500;

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x9e37_79b9));
        let mut units: Vec<_> = (0..1 + rng.below(3)).map(|_| UnitPlan::draw(&mut rng)).collect();
        let calm = 20_000 + rng.below(60_000);
        let end = calm + 20_000;
        let mut actions = Vec::new();
        let mut boots = vec![1; units.len()];
        // Few things at once, or many; some kinds not at all.
        let eager = [2_000, 6_000, 15_000][rng.below(3) as usize];
        let mask = rng.next() | rng.next();
        let mut time = rng.below(3_000);
        while time < calm {
            let unit = rng.below(units.len() as u64) as usize;
            let span = ms(match rng.below(8) {
                0 => rng.below(60_000),
                1..=3 => rng.below(10_000),
                _ => rng.below(2_000),
            });
            let kind = rng.below(18);
            let node = rng.below(NODES as u64) as usize;
            let action = match kind {
                0 | 1 => Action::Link(unit, hostile(&mut rng), span),
                2 => Action::Link(unit, Faults::loss(1.0), span),
                3 => Action::Resize(unit, size(&mut rng, units[unit].piece.is_some())),
                4 => Action::Down(unit, span),
                5 | 6 => Action::Sleep(unit, span),
                7 | 17 if boots[unit] < MAX_BOOTS => {
                    boots[unit] += 1;
                    match units[unit].storage && rng.chance(0.7) {
                        true => Action::Mishap(unit, rng.below(30), Mishap::ALL[rng.below(4) as usize]),
                        false => Action::PowerCut(unit, span),
                    }
                }
                8 => Action::Roam(unit),
                9 => Action::TwoPaths(unit, span),
                10 => Action::Rekey(unit),
                11 => Action::Reconnect(unit),
                12 => Action::Restart(node, span),
                13 => Action::Switch(unit, node),
                14 => Action::Hint(unit),
                15 => Action::Disconnect(unit),
                16 => Action::Slow(span, [0.0, 0.1, 1.0][rng.below(3) as usize]),
                _ => Action::Rekey(unit),
            };
            if mask >> kind & 1 == 1 {
                actions.push((Instant::from_millis(time), action));
            }
            time += 1 + rng.below(eager);
        }
        for (number, unit) in units.iter().enumerate() {
            let first = rng.below(TICK);
            for time in (first..calm).step_by(TICK as usize) {
                actions.push((Instant::from_millis(time), Action::Records(number)));
            }
            let mut time = rng.below(5_000);
            while time < end && unit.pace[0] > 0 {
                actions.push((Instant::from_millis(time), Action::Alarm(number)));
                time += 500 + rng.below(1_000_000 / unit.pace[0]);
            }
        }
        units.iter_mut().zip(0..).for_each(|(unit, number)| unit.overflow(&mut Rng::new(seed << 2 | number)));
        Self::extras(seed, calm, &mut units, &mut actions);
        actions.push((Instant::from_millis(calm), Action::Heal));
        actions.sort_by_key(|(time, _)| *time);
        Self {
            seed,
            units,
            actions,
            calm: Instant::from_millis(calm),
            end: Instant::from_millis(end),
            accept_delay: (0, rng.below(2) * 300),
            commit_delay: (0, rng.below(3) * 100),
            job_delay: (0, rng.below(2) * 20),
            tickets: Rng::new(seed).chance(0.7),
        }
    }

    /// Tickets, commands, and radios that are off most of the time; with chance of their own, so that all else stays as
    /// it is without them.
    fn extras(seed: u64, calm: u64, units: &mut [UnitPlan], actions: &mut Vec<(Instant, Action)>) {
        let mut rng = Rng::new(seed.wrapping_mul(0x51_7cc1_b727));
        for unit in units.iter_mut().filter(|_| rng.chance(0.25)) {
            // There and back with pieces and whole packets, and a commit.
            let round = 2 * unit.faults.delay.1 + 4 * 1200 / unit.speed + 300;
            unit.listen = Some(2 * round + Rng::new(seed).below(2_000));
        }
        let often = [3_000, 10_000, 40_000][rng.below(3) as usize];
        let mut time = rng.below(often);
        while time < calm {
            let span = ms(rng.below(15_000));
            let action = match rng.below(10) {
                0 => Action::NoClaims(span),
                1 => Action::RotateTickets,
                _ => {
                    let unit = rng.below(units.len() as u64) as usize;
                    Action::Command(unit, ms(1 + rng.below(10_000)), ms(rng.below(3) * rng.below(1_500)))
                }
            };
            actions.push((Instant::from_millis(time), action));
            time += 1 + rng.below(often);
        }
    }

    /// The same devices and records, and nothing that goes wrong.
    pub(crate) fn perfect(mut self) -> Self {
        self.actions
            .retain(|(_, action)| matches!(action, Action::Records(_) | Action::Alarm(_) | Action::Heal));
        self.units.iter_mut().for_each(|unit| unit.faults = quiet(unit.faults, unit.piece.is_some()));
        self
    }
}

/// The same delay, and no faults. Pieces keep their order then: a far end has one buffer to put packets together.
pub(crate) fn quiet(faults: Faults, pieces: bool) -> Faults {
    let (least, most) = faults.delay;
    Faults { delay: if pieces { (most, most) } else { (least, most) }, ..Faults::NONE }
}

fn hostile(rng: &mut Rng) -> Faults {
    let mut share = |most: f64| if rng.chance(0.5) { most * rng.below(100) as f64 / 100.0 } else { 0.0 };
    Faults {
        loss: share(0.6),
        duplicate: share(0.5),
        reorder: share(0.5),
        corrupt: share(0.3),
        replay: share(0.2),
        splice: share(0.1),
        delay: (5, 5 + rng.below(300)),
        late: (100, 100 + rng.below(8_000)),
    }
}

fn size(rng: &mut Rng, pieces: bool) -> u16 {
    if pieces { 20 + rng.below(228) as u16 } else { [64, 90, 150, 247, 500, 1200][rng.below(6) as usize] }
}

impl UnitPlan {
    fn draw(rng: &mut Rng) -> Self {
        let small = rng.chance(0.3);
        let piece = small.then(|| size(rng, true));
        let clean = quiet(Faults { delay: (2, 2 + rng.below(150)), ..Faults::NONE }, small);
        Self {
            pinned: rng.chance(0.5),
            psk: rng.chance(0.3),
            connection_id: [0, 0, 1, 4][rng.below(4) as usize],
            piece,
            max_packet: if small { 64 + rng.below(100) as u16 } else { size(rng, false) },
            speed: if small { 2 + rng.below(10) } else { 20 + rng.below(500) },
            faults: if rng.chance(0.3) { Faults { delay: clean.delay, ..hostile(rng) } } else { clean },
            outbox: [4096, 8192, 16_384][rng.below(3) as usize],
            linger: [0, 0, 300, 2_000][rng.below(4) as usize],
            pace: [20 + rng.below(200), rng.below(1_000), rng.below(4_000), rng.below(3_000)],
            channels: [0, 0, 20][rng.below(3) as usize],
            storage: rng.chance(0.4),
            listen: None,
            policies: [LanePolicy::Refuse; 4],
            capacity: None,
        }
    }

    /// A quarter of the devices have more trends and waveforms than they have memory for, and give up the oldest; with
    /// chance of its own, so that all other devices stay as they are.
    fn overflow(&mut self, rng: &mut Rng) {
        if !rng.chance(0.25) {
            return;
        }
        self.policies = match rng.below(3) {
            0 => LanePolicy::USUAL,
            1 => [LanePolicy::Refuse, LanePolicy::DropOldest, LanePolicy::DropOldest, LanePolicy::DropOldest],
            _ => [LanePolicy::Refuse, LanePolicy::Refuse, LanePolicy::Thin, LanePolicy::Thin],
        };
        self.outbox = [2048, 3000, 4096][rng.below(3) as usize];
        self.capacity = Some(200 + rng.below(1_500) as usize);
        let lanes = [1, 1 + rng.below(3), 1 + rng.below(6), 1 + rng.below(6)];
        self.pace.iter_mut().zip(lanes).for_each(|(pace, times)| *pace *= times);
    }
}
