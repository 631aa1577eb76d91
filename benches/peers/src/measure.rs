//! Contenders measured in turn: what else the machine does meets all of them, so ratios hold where times do not.

use std::time::{Duration, Instant};

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
}

impl Effort {
    /// Chooses between the count of a full run and that of one which only shows that everything works.
    pub(crate) fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    pub(crate) fn rounds(self) -> usize {
        self.of(101, 3)
    }
}

/// The processor time of this thread; where the system does not tell it, the time.
pub(crate) fn thread_time() -> Duration {
    #[cfg(unix)]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        now.try_into().unwrap_or_default()
    }
    #[cfg(not(unix))]
    {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        START.elapsed()
    }
}

/// Does so many items of work, and says how long they took; what it prepares for them is outside that time.
pub(crate) type Work<'w> = Box<dyn FnMut(u64) -> Duration + 'w>;

pub(crate) struct Contender<'w> {
    pub(crate) name: String,
    work: Work<'w>,
}

impl<'w> Contender<'w> {
    /// One that says itself how long its items took.
    pub(crate) fn new(name: impl Into<String>, work: impl FnMut(u64) -> Duration + 'w) -> Self {
        Self { name: name.into(), work: Box::new(work) }
    }

    /// One whose items are calls of `item`.
    pub(crate) fn each(name: impl Into<String>, mut item: impl FnMut() + 'w) -> Self {
        Self::new(name, move |items| {
            let start = Instant::now();
            for _ in 0..items {
                item();
            }
            start.elapsed()
        })
    }
}

/// Nanoseconds per item of each contender, round by round.
#[derive(Default)]
pub(crate) struct Figures {
    rows: Vec<(String, Vec<f64>)>,
}

impl Figures {
    /// Measures the contenders in turn; the first round only warms up.
    pub(crate) fn in_turn(effort: Effort, items: u64, mut contenders: Vec<Contender<'_>>) -> Self {
        let mut figures = Self::default();
        for round in 0..=effort.rounds() {
            for Contender { name, work } in &mut contenders {
                let took = work(items).as_secs_f64() * 1e9 / items as f64;
                if round > 0 {
                    figures.add(name, took);
                }
            }
        }
        figures
    }

    /// Notes what an item of a contender took in one more round.
    pub(crate) fn add(&mut self, name: &str, nanoseconds: f64) {
        match self.rows.iter_mut().find(|(own, _)| own == name) {
            Some((_, times)) => times.push(nanoseconds),
            None => self.rows.push((name.to_owned(), vec![nanoseconds])),
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|(name, _)| name.as_str())
    }

    fn times(&self, name: &str) -> &[f64] {
        let row = self.rows.iter().find(|(own, _)| own == name);
        row.map(|(_, times)| times.as_slice()).unwrap_or_else(|| panic!("{name} is not in this table"))
    }

    /// The median of its rounds.
    pub(crate) fn median(&self, name: &str) -> f64 {
        median(self.times(name).to_vec())
    }

    /// The median of the rounds' ratios to another contender.
    pub(crate) fn ratio(&self, name: &str, to: &str) -> f64 {
        median(self.times(name).iter().zip(self.times(to)).map(|(own, other)| own / other).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints a column for each of several measurements of the same contenders: time, and ratio to `reference`.
pub(crate) fn print_columns(columns: &[(String, Figures)], reference: &str) {
    let Some((_, first)) = columns.first() else { return };
    print!("{:<44}", "");
    columns.iter().for_each(|(column, _)| print!("{column:>20}"));
    println!();
    for name in first.names() {
        print!("{name:<44}");
        for (_, figures) in columns {
            print!("{:>10.0} ns {:>5.2}x", figures.median(name), figures.ratio(name, reference));
        }
        println!();
    }
}

/// Prints an aim of the project beside what was measured.
pub(crate) fn print_aim(aim: &str, measured: &str, reached: bool) {
    println!("  aim: {aim}: {measured}: {}", if reached { "reached" } else { "NOT reached" });
}
