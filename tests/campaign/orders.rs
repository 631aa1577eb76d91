//! What the service has devices do, and what became of it.

use crate::kit::ms;
use std::collections::HashMap;
use vitalwire::backend::{CommandId, CommandOutcome};
use vitalwire::{Duration, Instant};

/// What a device's application answers when it was too late to begin.
pub(crate) const TOO_LATE: u16 = 9;
/// How long after its time a command's result is waited for, at the most, and a timer's millisecond.
const REPORTED_WITHIN: Duration = Duration::from_secs(62);

/// A command at a device.
pub(crate) struct Order {
    pub(crate) id: vitalwire::device::CommandId,
    pub(crate) number: u32,
    pub(crate) deadline: Instant,
}

/// A command as the world knows it.
struct Fact {
    /// Until then it may be begun.
    until: Instant,
    /// What the device's application takes before it begins.
    delay: Duration,
    given: bool,
    done: bool,
    outcome: Option<CommandOutcome>,
    /// The node that was asked has died, and with it the report.
    orphaned: bool,
}

/// All commands of a run.
#[derive(Default)]
pub(crate) struct Orders {
    facts: Vec<Fact>,
    /// The commands of a node, since it has begun.
    known: HashMap<(usize, CommandId), u32>,
}

impl Orders {
    /// The number of the next command.
    pub(crate) fn next(&self) -> u32 {
        self.facts.len() as u32
    }

    pub(crate) fn sent(&mut self, node: usize, id: CommandId, until: Instant, delay: Duration) {
        assert!(self.known.insert((node, id), self.next()).is_none(), "a command id was given twice");
        let (given, done) = (false, false);
        self.facts.push(Fact { until, delay, given, done, outcome: None, orphaned: false });
    }

    /// A device was told; returns what its application takes.
    pub(crate) fn given(&mut self, now: Instant, number: u32, deadline: Instant) -> Duration {
        let fact = &mut self.facts[number as usize];
        assert!(!fact.given, "command {number} was given twice");
        assert!(deadline <= fact.until && now < deadline, "command {number} at {now:?}: {deadline:?}");
        fact.given = true;
        fact.delay
    }

    pub(crate) fn done(&mut self, now: Instant, number: u32) {
        let fact = &mut self.facts[number as usize];
        assert!(now < fact.until && !fact.done);
        fact.done = true;
    }

    /// A node has reported what became of a command.
    pub(crate) fn ended(&mut self, now: Instant, node: usize, id: CommandId, outcome: CommandOutcome) {
        let number = self.known[&(node, id)];
        let fact = &mut self.facts[number as usize];
        assert!(fact.outcome.replace(outcome).is_none(), "command {number} was reported twice");
        assert!(now <= fact.until + REPORTED_WITHIN, "command {number} was reported late");
        let was = (fact.given, fact.done);
        match outcome {
            CommandOutcome::Done => assert_eq!(was, (true, true)),
            CommandOutcome::Failed(code) => assert_eq!((was, code), ((true, false), TOO_LATE)),
            CommandOutcome::Unknown => {}
            // It is neither done nor will it be.
            _ => assert_eq!(was, (false, false), "command {number}: {outcome:?}"),
        }
    }

    pub(crate) fn node_died(&mut self, node: usize) {
        self.known.retain(|(of, _), number| {
            self.facts[*number as usize].orphaned |= *of == node;
            *of != node
        });
    }

    /// By when each command was reported whose node lives.
    pub(crate) fn settled_by(&self) -> Instant {
        let last = self.facts.iter().map(|fact| fact.until).max();
        last.map_or(Instant::ZERO, |last| last + REPORTED_WITHIN + ms(1))
    }

    /// Commands, and those of them that were done; each was reported.
    pub(crate) fn check(&self) -> [usize; 2] {
        for (number, fact) in self.facts.iter().enumerate() {
            assert!(fact.outcome.is_some() || fact.orphaned, "nobody heard of command {number}");
            let never = [CommandOutcome::NotSent];
            assert!(!fact.given || fact.outcome.is_none_or(|outcome| !never.contains(&outcome)));
        }
        [self.facts.len(), self.facts.iter().filter(|fact| fact.done).count()]
    }
}
