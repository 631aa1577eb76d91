//! A backend at one end of a serial line, its store in memory, and a way to wait for what must happen.

use crate::keys::Keys;
use crate::line::Line;
use crate::oracle::Oracle;
use crate::service::{Store, run_handshakes, set_clocks};
use crate::{Failure, telemetry};
use std::collections::HashMap;
use std::time::Instant as Clock;
use vitalwire::backend::{
    Backend, BackendEvent, Batch, BatchRef, Command, CommandId, CommandOutcome, Inbound, Received,
};
use vitalwire::wire::{PacketKind, Pattern, Side};
use vitalwire::{CloseReason, Duration, Instant, OsEntropy};

/// What happens to records that came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Storing {
    /// They are stored and acknowledged.
    On,
    /// The database is down: they are given back, and come again.
    Off,
}

/// The backend, and what has happened so far.
pub struct Host {
    pub line: Line,
    keys: Keys,
    backend: Backend<()>,
    rng: OsEntropy,
    started: Clock,
    store: Store,
    pub storing: Storing,
    pub oracle: Oracle,
    /// The patterns by which the device has connected, in order.
    pub connected: Vec<Pattern>,
    pub disconnected: Vec<CloseReason>,
    /// The kinds of handshake packets that came.
    pub hellos: u32,
    pub finishes: u32,
    ended: HashMap<CommandId, CommandOutcome>,
    results: HashMap<CommandId, Vec<u8>>,
}

impl Host {
    pub fn new(line: Line, keys: Keys) -> Result<Self, Failure> {
        let mut backend = Backend::new(keys.backend_config()?)?;
        backend.set_ticket_keys(keys.ticket_keys());
        Ok(Self {
            line,
            keys,
            backend,
            rng: OsEntropy,
            started: Clock::now(),
            store: Store::default(),
            storing: Storing::On,
            oracle: Oracle::default(),
            connected: Vec::new(),
            disconnected: Vec::new(),
            hellos: 0,
            finishes: 0,
            ended: HashMap::new(),
            results: HashMap::new(),
        })
    }

    /// Restarts the service: its sessions are gone, its database is not. Without `tickets` it has lost the keys of those.
    pub fn restart(&mut self, tickets: bool) -> Result<(), Failure> {
        self.backend = Backend::new(self.keys.backend_config()?)?;
        if tickets {
            self.backend.set_ticket_keys(self.keys.ticket_keys());
        }
        Ok(())
    }

    /// Has the service give tickets from now on.
    pub fn give_tickets(&mut self) {
        self.backend.set_ticket_keys(self.keys.ticket_keys());
    }

    /// Serves until `done`.
    ///
    /// # Errors
    /// If that takes longer than so many seconds, or a record comes that is not as it must be.
    pub fn until(
        &mut self,
        what: &str,
        seconds: u64,
        done: impl Fn(&mut Self) -> bool,
    ) -> Result<(), Failure> {
        let begun = self.started.elapsed();
        while !done(self) {
            if let Some(wrong) = &self.oracle.wrong {
                return Err(format!("a record is not as it was measured: {wrong}").into());
            }
            if self.line.closed {
                return Err(format!("the line was closed while waiting for: {what}").into());
            }
            if (self.started.elapsed() - begun).as_secs() >= seconds {
                let discards: Vec<_> = self.backend.discards().iter().filter(|(_, n)| *n > 0).collect();
                return Err(format!("not within {seconds} s: {what}. {}. {discards:?}", self.oracle).into());
            }
            self.turn()?;
        }
        println!("backend: {:5.1} s  {what}", self.started.elapsed().as_secs_f32());
        Ok(())
    }

    /// Serves for so long.
    pub fn serve_for(&mut self, time: std::time::Duration) -> Result<(), Failure> {
        let begun = Clock::now();
        while begun.elapsed() < time {
            self.turn()?;
        }
        Ok(())
    }

    /// Has the device do a command, and returns what came of it.
    pub fn command(&mut self, kind: u16, body: &[u8]) -> Result<(CommandOutcome, Vec<u8>), Failure> {
        let id = self.ask(kind, body)?;
        self.until(&format!("command {kind} has ended"), 25, |host| host.ended.contains_key(&id))?;
        let outcome = self.ended.remove(&id).ok_or("the outcome")?;
        Ok((outcome, self.results.remove(&id).unwrap_or_default()))
    }

    fn ask(&mut self, kind: u16, body: &[u8]) -> Result<CommandId, Failure> {
        let identity = self.keys.device;
        let command = Command { kind, body, ttl: Duration::from_secs(20) };
        Ok(self.backend.command(self.now()?, &identity, command)?)
    }

    /// Returns the session's ratchets: hash, DH.
    pub fn ratchets(&mut self) -> (u32, u32) {
        let identity = self.keys.device;
        self.backend.ratchets(&identity).unwrap_or_default()
    }

    fn now(&self) -> Result<Instant, Failure> {
        Ok(Instant::from_millis(self.started.elapsed().as_millis().try_into()?))
    }

    /// One turn of the run loop.
    fn turn(&mut self) -> Result<(), Failure> {
        let mut packets: Vec<Vec<u8>> = Vec::new();
        self.line.receive(std::time::Duration::from_millis(5), |packet| packets.push(packet.to_vec()));
        let now = self.now()?;
        set_clocks(now, &mut self.backend)?;
        for packet in &mut packets {
            match PacketKind::parse(packet, Side::Device) {
                Ok(PacketKind::Hello) => self.hellos += 1,
                Ok(PacketKind::Finish) => self.finishes += 1,
                _ => {}
            }
            let Self { backend, store, oracle, storing, results, .. } = self;
            let mut batches = Vec::new();
            backend.handle_packets(
                now,
                &mut [Inbound { path: (), packet }],
                &mut |received| match received {
                    Received::Batch(batch) => batches.push(look_at(*storing, store, oracle, &batch)),
                    Received::CommandDone { id, body, .. } => {
                        results.insert(id, body.to_vec());
                    }
                    _ => {}
                },
            );
            self.settle(now, batches);
        }
        self.backend.handle_timeout(now);
        run_handshakes(now, &mut self.backend, &mut self.rng);
        while let Some(event) = self.backend.poll_event() {
            self.handle_event(now, event)?;
        }
        run_handshakes(now, &mut self.backend, &mut self.rng);
        while let Some(early) = self.backend.poll_early() {
            let done = look_at(self.storing, &mut self.store, &mut self.oracle, &early.as_batch());
            self.settle(now, vec![done]);
        }
        let mut out = [0; 1500];
        while let Some(transmit) = self.backend.poll_transmit(now, &mut self.rng, &mut out)? {
            self.line.send(transmit.packet)?;
        }
        Ok(())
    }

    fn settle(&mut self, now: Instant, batches: Vec<(BatchRef, Storing)>) {
        for (batch, done) in batches {
            match done {
                Storing::On => drop(self.backend.commit(now, batch)),
                Storing::Off => self.backend.release(now, batch),
            }
        }
    }

    fn handle_event(&mut self, now: Instant, event: BackendEvent) -> Result<(), Failure> {
        match event {
            BackendEvent::Pending { pending, credential, .. } => {
                let grant = self.store.grant(credential.identity(), None);
                self.backend.accept(now, pending, grant)?;
            }
            BackendEvent::Resuming { pending, claim } => {
                let outcome = self.store.claim(&claim)?;
                let grant = self.store.grant(claim.identity, None);
                self.backend.claimed(now, pending, outcome, grant)?;
            }
            BackendEvent::Connected { pattern, .. } => self.connected.push(pattern),
            BackendEvent::Disconnected { reason, .. } => self.disconnected.push(reason),
            BackendEvent::CommandEnded { id, outcome, .. } => {
                self.ended.insert(id, outcome);
            }
            BackendEvent::ScopeRefused { .. } | BackendEvent::TagConflict { .. } => {
                return Err(format!("this must not happen: {event:?}").into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells whether the device has said that it is done.
    pub fn is_finished(&self) -> bool {
        self.disconnected.last() == Some(&CloseReason::Application)
    }

    /// Asks the device to end its run, and waits until it has closed, or gone: noise may hit the Close, too. What is missing
    /// then is found by who asks the oracle.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.ask(telemetry::command::FINISH, b"")?;
        self.until("the device has closed", 60, |host| host.is_finished() || host.line.closed)
    }
}

/// Stores a batch: its new records are looked at once.
fn look_at(
    storing: Storing,
    store: &mut Store,
    oracle: &mut Oracle,
    batch: &Batch<'_>,
) -> (BatchRef, Storing) {
    if storing == Storing::On {
        match store.apply(batch) {
            Some(new) => oracle.check(batch, new),
            None => return (batch.handle(), Storing::Off),
        }
    }
    (batch.handle(), storing)
}
