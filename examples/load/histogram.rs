//! Counts of durations, in buckets an eighth of an octave wide.

/// Buckets below 2^3 of a microsecond each, then 8 per power of two, up to 2^40 µs.
const BUCKETS: usize = 8 * 38;

#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], longest: 0 }
    }
}

impl Histogram {
    pub fn add(&mut self, micros: u64) {
        self.longest = self.longest.max(micros);
        let bucket = Self::bucket(micros).min(BUCKETS - 1);
        self.counts[bucket] += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        self.longest = self.longest.max(other.longest);
        self.counts.iter_mut().zip(&other.counts).for_each(|(to, from)| *to += from);
    }

    fn bucket(micros: u64) -> usize {
        if micros < 8 {
            return micros as usize;
        }
        let octave = micros.ilog2();
        (octave as usize - 2) * 8 + (micros >> (octave - 3) & 7) as usize
    }

    /// Returns the upper end of a bucket.
    fn end(bucket: usize) -> u64 {
        if bucket < 8 {
            return bucket as u64 + 1;
        }
        let (octave, eighth) = (bucket as u32 / 8 + 2, bucket as u64 % 8);
        (9 + eighth) << (octave - 3)
    }

    /// Returns a duration in microseconds below which this share of all lies, to an eighth.
    pub fn quantile(&self, share: f64) -> u64 {
        let all: u64 = self.counts.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        at.map_or(self.longest, |at| Self::end(at).min(self.longest))
    }

    pub const fn longest(&self) -> u64 {
        self.longest
    }
}
