//! How often something may happen: in all, and per key in memory that does not grow with the keys.

use crate::crypto::hash_parts;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec;

/// How often something may happen: so many times a minute, and so many at once after a rest.
///
/// ```
/// use vitalwire::backend::Rate;
/// // Eight at once, then one every two seconds.
/// assert_eq!(Rate::per_minute(30, 8), Rate { per_minute: 30, burst: 8 });
/// assert_eq!(Rate::per_second(2000, 2000).per_minute, 120_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Times a minute, at least 1.
    pub per_minute: u32,
    /// Times at once, at least 1.
    pub burst: u32,
}

impl Rate {
    /// More than anybody can do: no limit.
    pub const UNLIMITED: Self = Self { per_minute: u32::MAX, burst: u32::MAX };

    /// So many a minute.
    pub const fn per_minute(count: u32, burst: u32) -> Self {
        Self { per_minute: count, burst }
    }

    /// So many a second, saturating.
    pub const fn per_second(count: u32, burst: u32) -> Self {
        Self { per_minute: count.saturating_mul(60), burst }
    }

    pub(super) const fn is_valid(self) -> bool {
        self.per_minute > 0 && self.burst > 0
    }
}

/// One token, in parts: a rate per minute gives whole parts per millisecond.
const TOKEN: u64 = 60_000;

/// A token bucket, for one rate in all. Time that stands still or runs backward fills nothing.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    level: u64,
    since: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) const fn new(rate: Rate) -> Self {
        Self { rate, level: Self::capacity(rate), since: Instant::ZERO }
    }

    const fn capacity(rate: Rate) -> u64 {
        TOKEN.saturating_mul(rate.burst as u64)
    }

    fn level(&self, now: Instant) -> u64 {
        let gained = now.since(self.since).as_millis().saturating_mul(self.rate.per_minute.into());
        self.level.saturating_add(gained).min(Self::capacity(self.rate))
    }

    /// Returns the whole tokens that are left.
    pub(super) fn tokens(&self, now: Instant) -> u32 {
        let whole = self.level(now).checked_div(TOKEN).unwrap_or(0);
        u32::try_from(whole).unwrap_or(u32::MAX)
    }

    /// Tells whether there is a token that does not belong to the last `reserve` ones.
    pub(super) fn has_beyond(&self, now: Instant, reserve: u32) -> bool {
        self.tokens(now) > reserve
    }

    /// Takes a token; tells whether there was one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.level = self.level(now);
        self.since = self.since.max(now);
        let rest = self.level.checked_sub(TOKEN);
        self.level = rest.unwrap_or(self.level);
        rest.is_some()
    }
}

/// How many places a key has in a [`Sketch`].
const ROWS: usize = 4;
/// The places of a row, a power of two.
const CELLS: usize = 8192;
/// Those of a row where each time costs less.
const FEW_CELLS: usize = CELLS / 4;

/// Where a key's places are: nobody can tell without the salt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places([u32; ROWS]);

impl Places {
    pub(super) fn of(salt: &[u8; 32], key: &[u8]) -> Self {
        let digest = hash_parts(&[salt, key]);
        let mut places = [0; ROWS];
        let mut words = digest.chunks_exact(4).filter_map(<[u8]>::first_chunk::<4>);
        for place in &mut places {
            *place = words.next().map_or(0, |word| u32::from_le_bytes(*word));
        }
        Self(places)
    }
}

/// A rate for each of any number of keys, in 128 KiB, or 32.
///
/// Each key has a place in each of four rows; a place has the time at which all that it was charged for is worked off
/// (as in the generic cell rate algorithm, ITU-T I.371). A key counts by the least of its places, and only what is below
/// the new value is raised (a count-min sketch with conservative update). So a key is never allowed more than its rate;
/// it is allowed less only if each of its places is shared by others that use theirs up. Nothing is evicted: who brings
/// many keys cannot have another one forgotten.
//= SPEC.md#admission
//# What a backend remembers of paths MUST NOT grow with their number, and who brings many MUST NOT be able to have another one forgotten.
pub(super) struct Sketch {
    rate: Rate,
    base: Instant,
    /// The places of a row.
    row: usize,
    /// Milliseconds since `base`.
    cells: Box<[u32]>,
}

/// After so long the times are counted from a new base, so that they fit.
const REBASE: u64 = 1 << 31;
/// The longest time for which a place can be used up.
const MAX_DEBT: u64 = 1 << 30;

impl Sketch {
    pub(super) fn new(rate: Rate) -> Self {
        Self::with_rows(rate, CELLS)
    }

    /// For a rate of at least twice a second: times that cost a quarter need a quarter of the places.
    pub(super) fn small(rate: Rate) -> Self {
        Self::with_rows(rate, FEW_CELLS)
    }

    fn with_rows(rate: Rate, row: usize) -> Self {
        Self { rate, base: Instant::ZERO, row, cells: vec![0; ROWS.saturating_mul(row)].into_boxed_slice() }
    }

    fn indices(&self, places: &Places) -> impl Iterator<Item = usize> + use<> {
        let row = self.row;
        let within = |place: u32| (place as usize).checked_rem(row).unwrap_or(0);
        let of_rows = places.0.map(within).into_iter().enumerate();
        of_rows.map(move |(number, place)| number.saturating_mul(row).saturating_add(place))
    }

    /// What one time costs, in milliseconds; 0: nothing.
    fn cost(&self) -> u64 {
        TOKEN.checked_div(self.rate.per_minute.into()).unwrap_or(0)
    }

    fn tick(&mut self, now: Instant) -> u64 {
        let elapsed = now.since(self.base).as_millis();
        if elapsed < REBASE {
            return elapsed;
        }
        let shift = u32::try_from(elapsed).unwrap_or(u32::MAX);
        for cell in &mut self.cells {
            *cell = cell.saturating_sub(shift);
        }
        self.base = now;
        0
    }

    fn busy_until(&self, places: &Places) -> u64 {
        let cells = self.indices(places).filter_map(|place| self.cells.get(place));
        cells.min().copied().unwrap_or(0).into()
    }

    /// Tells whether the key may once more.
    pub(super) fn has(&mut self, now: Instant, places: &Places) -> bool {
        let tick = self.tick(now);
        let others = u64::from(self.rate.burst).saturating_sub(1);
        let slack = self.cost().saturating_mul(others).min(MAX_DEBT);
        self.cost() == 0 || self.busy_until(places) <= tick.saturating_add(slack)
    }

    /// Charges the key for one time.
    pub(super) fn charge(&mut self, now: Instant, places: &Places) {
        let tick = self.tick(now);
        let free = self.busy_until(places).max(tick).saturating_add(self.cost().min(MAX_DEBT));
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        for place in self.indices(places) {
            if let Some(cell) = self.cells.get_mut(place) {
                *cell = (*cell).max(free);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn allowed(sketch: &mut Sketch, now: Instant, key: u64) -> bool {
        let places = Places::of(&[7; 32], &key.to_le_bytes());
        let has = sketch.has(now, &places);
        if has {
            sketch.charge(now, &places);
        }
        has
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(Rate::per_second(10, 3));
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, at(5_000)), 3);
        assert_eq!(taken(&mut bucket, at(5_099)), 0);
        assert_eq!(taken(&mut bucket, at(5_100)), 1);
        assert_eq!(taken(&mut bucket, at(4_000)), 0, "backward time is harmless");
        assert_eq!(taken(&mut bucket, at(5_250)), 1);
        assert_eq!(taken(&mut bucket, at(5_300)), 1, "parts of tokens are kept");
        assert_eq!(taken(&mut bucket, at(u64::MAX)), 3);
    }

    #[test]
    fn a_reserve_is_kept() {
        let mut bucket = Bucket::new(Rate::per_second(1, 4));
        assert!(bucket.has_beyond(at(0), 2) && bucket.take(at(0)) && bucket.has_beyond(at(0), 2));
        assert!(bucket.take(at(0)) && !bucket.has_beyond(at(0), 2));
        assert_eq!(bucket.tokens(at(0)), 2);
    }

    #[test]
    fn an_unlimited_rate_ends_at_nothing() {
        let (mut bucket, mut sketch) = (Bucket::new(Rate::UNLIMITED), Sketch::new(Rate::UNLIMITED));
        assert!((0..100_000).all(|_| bucket.take(at(0)) && allowed(&mut sketch, at(0), 1)));
    }

    #[test]
    fn a_key_gets_its_burst_and_then_its_rate() {
        let mut sketch = Sketch::new(Rate::per_minute(30, 8));
        let start = at(1_000_000);
        assert_eq!((0..100).filter(|_| allowed(&mut sketch, start, 1)).count(), 8);
        assert!(!allowed(&mut sketch, start + Duration::from_millis(1_999), 1));
        assert!(allowed(&mut sketch, start + Duration::from_millis(2_000), 1));
        assert!(!allowed(&mut sketch, start, 1), "backward time is harmless");
        assert!(allowed(&mut sketch, start, 2), "another key has a rate of its own");
        let later = start + Duration::from_secs(60);
        assert_eq!(
            (0..100).filter(|_| allowed(&mut sketch, later, 1)).count(),
            8,
            "no more than the burst is saved"
        );
    }

    #[test]
    fn who_brings_many_keys_has_none_forgotten() {
        let mut sketch = Sketch::new(Rate::per_minute(30, 8));
        assert_eq!((0..100).filter(|_| allowed(&mut sketch, at(0), 1)).count(), 8);
        for key in 2..1_000_000 {
            allowed(&mut sketch, at(1_000), key);
        }
        assert!(!allowed(&mut sketch, at(1_000), 1));
    }

    #[test]
    fn a_reconnect_storm_of_all_devices_is_allowed() {
        // 100 000 devices at 2 000 a second, each once or twice: nobody pays for another.
        let path = Sketch::new(Rate::per_minute(30, 8));
        let device = Sketch::small(Rate::per_second(2, 8));
        for mut sketch in [path, device] {
            let refused = (0..100_000u64).filter(|device| {
                let now = at(1_000 + device / 2);
                !allowed(&mut sketch, now, *device) || device % 2 == 0 && !allowed(&mut sketch, now, *device)
            });
            assert_eq!(refused.count(), 0);
        }
    }

    #[test]
    fn times_fit_after_years() {
        let mut sketch = Sketch::new(Rate::per_minute(1, 2));
        let year = 365 * 24 * 3600 * 1000;
        for now in [0, REBASE - 1, REBASE, REBASE + 5, 3 * REBASE, year, 10 * year, u64::MAX] {
            assert!(allowed(&mut sketch, at(now), now), "{now}");
            assert!(allowed(&mut sketch, at(now), now) && !allowed(&mut sketch, at(now), now), "{now}");
        }
        // What is owed is owed across a new base.
        let mut sketch = Sketch::new(Rate::per_minute(1, 1));
        assert!(allowed(&mut sketch, at(REBASE - 1), 1));
        assert!(!allowed(&mut sketch, at(REBASE + 59_000), 1));
        assert!(allowed(&mut sketch, at(REBASE + 60_000), 1));
    }
}
