//! The application: a bedside monitor that measures, raises alarms, and does what the backend commands.

use crate::say;
use crate::telemetry::{self, STEPS_PER_RATE, STRIP, TREND, command, step_time};
use vitalwire::device::{CommandId, Device, DeviceEvent, DeviceReceived};
use vitalwire::framing::{Lane, Phase, Record, TrendBlock, WaveformBlock};
use vitalwire::{CallError, Duration, Instant};

/// How long a command's result may take to get there, before the device resets.
const RESULT_TIME: Duration = Duration::from_millis(300);
/// After this time it resets, whatever is lost by it.
const LONGEST_REBOOT: Duration = Duration::from_secs(8);
/// Commands that may wait at once: as many as a session remembers.
const COMMANDS: usize = 4;
const BODY: usize = 32;

/// What the monitor has decided to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Reboot,
    Finish,
}

struct Command {
    id: CommandId,
    kind: u16,
    body: [u8; BODY],
    len: usize,
    deadline: Instant,
}

/// The application's state.
pub struct Monitor {
    started: Instant,
    /// Steps done, and what was recorded of each kind: a lane that is full delays, and changes nothing.
    steps: u32,
    blocks: u32,
    strips: u32,
    rates: u32,
    trends: u32,
    /// The second for which no alarm was looked for yet.
    alarms: u32,
    commands: [Option<Command>; COMMANDS],
    ending: Option<(Ending, Instant)>,
    closing: bool,
    /// Of each lane, the sequence behind the last record that was accepted, and behind the last that is stored.
    accepted: [u64; 4],
    stored: [u64; 4],
}

impl Monitor {
    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            steps: 0,
            blocks: 0,
            strips: 0,
            rates: 0,
            trends: 0,
            alarms: 0,
            commands: [const { None }; COMMANDS],
            ending: None,
            closing: false,
            accepted: [0; 4],
            stored: [0; 4],
        }
    }

    /// Takes what came in a packet. A command is done in the next `turn`: here the device is busy.
    #[inline(never)]
    pub fn receive(&mut self, received: DeviceReceived<'_>) {
        let DeviceReceived::Command { id, kind, body, deadline } = received else { return };
        let len = body.len().min(BODY);
        let mut copy = [0; BODY];
        copy[..len].copy_from_slice(&body[..len]);
        // One that finds no place is never answered: the backend hears of it as unknown.
        if let Some(place) = self.commands.iter_mut().find(|place| place.is_none()) {
            *place = Some(Command { id, kind, body: copy, len, deadline });
        }
    }

    /// Does what is due: commands and measurements.
    #[inline(never)]
    pub fn turn(&mut self, now: Instant, device: &mut Device<'_>) {
        for place in 0..COMMANDS {
            if let Some(command) = self.commands[place].take() {
                self.execute(now, device, &command);
            }
        }
        if self.ending.is_some() {
            return;
        }
        while step_time(self.started, self.steps + 1) <= now {
            self.steps += 1;
        }
        match self.record(now, device) {
            Ok(()) => {}
            // Tried again in the next turn: the storage makes room, or the backend.
            Err(CallError::LaneFull) => {}
            Err(_error) => say!("device: a record was refused: {:?}", _error),
        }
    }

    /// Records what the steps so far have brought, each thing once.
    fn record(&mut self, now: Instant, device: &mut Device<'_>) -> Result<(), CallError> {
        let rates_due = self.steps / STEPS_PER_RATE;
        while self.rates < rates_due {
            let measurement = telemetry::measurement(self.rates);
            self.accept(now, device, Lane::Event, &Record::Measurement(measurement))?;
            self.rates += 1;
            if telemetry::alarm(self.rates - 1).is_some_and(|alarm| alarm.phase == Phase::Start) {
                self.strips += 1;
            }
        }
        // The strip of an alarm comes first, so that the alarm can show that it overtakes.
        while !cfg!(feature = "without-blocks") && self.blocks < self.steps + STRIP * self.strips {
            let (first, samples) = telemetry::ecg_block(self.blocks);
            let block = WaveformBlock::new(telemetry::ECG_CHANNEL, first, &samples);
            self.accept(now, device, Lane::Waveform, &Record::Waveform(block))?;
            self.blocks += 1;
        }
        while self.alarms < self.rates {
            if let Some(alarm) = telemetry::alarm(self.alarms) {
                self.accept(now, device, Lane::Alarm, &Record::Alarm(alarm))?;
            }
            self.alarms += 1;
        }
        while !cfg!(feature = "without-blocks") && (self.trends + 1) * TREND as u32 <= self.rates {
            let points = telemetry::trend(self.trends);
            let block = TrendBlock::new(telemetry::TREND_CHANNEL, &points);
            self.accept(now, device, Lane::Trend, &Record::Trend(block))?;
            self.trends += 1;
        }
        Ok(())
    }

    // Inlined, as `Device::record` is: the kinds of record that a device never makes are not linked.
    #[inline(always)]
    fn accept(
        &mut self,
        now: Instant,
        device: &mut Device<'_>,
        lane: Lane,
        record: &Record<'_>,
    ) -> Result<(), CallError> {
        let accepted = device.record(now, lane, record)?;
        self.accepted[lane.index()] = accepted.first + u64::from(accepted.count);
        Ok(())
    }

    fn execute(&mut self, now: Instant, device: &mut Device<'_>, command: &Command) {
        if now >= command.deadline {
            return;
        }
        let mut result = [0; 4 + BODY];
        let result: Result<&[u8], u16> = match command.kind {
            command::IDENTIFY => {
                result[..4].copy_from_slice(&device.boot().unwrap_or(0).to_le_bytes());
                result[4..].copy_from_slice(&command.body);
                Ok(&result[..4 + command.len])
            }
            command::REKEY => {
                device.rekey();
                Ok(b"asked")
            }
            command::REBOOT => {
                self.ending = Some((Ending::Reboot, now));
                Ok(b"")
            }
            command::FINISH => {
                self.ending = Some((Ending::Finish, now));
                Ok(b"")
            }
            _ => Err(command::UNKNOWN_KIND),
        };
        if let Err(_error) = device.command_result(command.id, result) {
            say!("device: nobody waits for a result: {:?}", _error);
        }
    }

    /// Takes an event of the device.
    #[inline(never)]
    pub fn event(&mut self, event: DeviceEvent) {
        match event {
            DeviceEvent::Stored { lane, through } => self.stored[lane.index()] = through + 1,
            DeviceEvent::Connected { pattern: _pattern, .. } => say!("device: connected by {:?}", _pattern),
            _event => say!("device: {:?}", _event),
        }
    }

    /// Returns what to do now, if nothing is lost by it: all that was measured is delivered, or stored.
    pub fn ending(&mut self, now: Instant, device: &mut Device<'_>) -> Option<Ending> {
        let (ending, since) = self.ending?;
        let told = since + RESULT_TIME <= now;
        match ending {
            Ending::Reboot => {
                let safe =
                    self.stored.iter().zip(&self.accepted).all(|(stored, accepted)| stored >= accepted);
                let late = since + LONGEST_REBOOT <= now;
                (told && (safe || device.is_drained()) || late).then_some(ending)
            }
            Ending::Finish => {
                if told && device.is_drained() && !self.closing {
                    device.disconnect();
                    self.closing = true;
                }
                (self.closing && !device.is_connected()).then_some(ending)
            }
        }
    }

    /// Returns when the monitor wants its next turn.
    pub fn due(&self, now: Instant) -> Instant {
        match self.ending {
            Some(_) => now + Duration::from_millis(50),
            None => step_time(self.started, self.steps + 1),
        }
    }
}
