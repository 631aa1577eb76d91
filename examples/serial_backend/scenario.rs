//! What is done with the device, step by step.

use crate::Failure;
use crate::host::{Host, Storing};
use crate::telemetry::{STRIP, command};
use std::time::Duration;
use vitalwire::backend::CommandOutcome;
use vitalwire::wire::Pattern;

type Scenario = fn(&mut Host) -> Result<(), Failure>;

/// The names of the scenarios, and what they are.
pub const SCENARIOS: [(&str, Scenario); 6] = [
    ("whole", whole),
    ("plain", plain),
    ("noise", noise),
    ("vanish", vanish),
    ("reset", reset),
    ("figures", figures),
];

/// A device's life: first contact, telemetry, an alarm, rekeying, a reboot, resumption, and IK at last.
fn whole(host: &mut Host) -> Result<(), Failure> {
    host.until("first contact, by XX", 120, |host| host.connected == [Pattern::Xx])?;
    // At once: a session that has just moved by a hash ratchet does not move again for two minutes.
    host.command(command::REKEY, b"")?;
    host.until("a DH ratchet was done", 20, |host| host.ratchets().1 > 0)?;
    host.until("trends, rates and alarms have come", 20, |host| {
        host.oracle.boot(1).is_some_and(|boot| !boot.trends.is_empty() && boot.alarms.len() >= 2)
    })?;
    host.until("an alarm has overtaken the strip of ECG before it", 20, |host| {
        host.oracle.boot(1).is_some_and(|boot| boot.overtaken >= STRIP / 2)
    })?;
    commands(host, 1)?;

    // The database fails, and the device is told to reset: what it cannot deliver it must find again in its flash.
    host.storing = Storing::Off;
    let before = host.oracle.records;
    reboot(host)?;
    host.until("resumed from the flash, by a ticket", 30, |host| {
        host.connected.last() == Some(&Pattern::Resume)
    })?;
    host.storing = Storing::On;
    host.until("the records of the first boot have come from the flash", 30, |host| {
        host.oracle.missing(1).is_none() && host.oracle.records > before
    })?;
    host.until("records of the second boot have come", 20, |host| {
        host.oracle.boot(2).is_some_and(has_records)
    })?;
    commands(host, 2)?;
    host.until("a hash ratchet was done", 30, |host| host.ratchets().0 > 0)?;

    host.restart(false)?;
    host.until("the service has lost its sessions and its ticket keys: IK", 60, |host| {
        host.connected.last() == Some(&Pattern::Ik)
    })?;
    let sessions = host.connected.len();
    reboot(host)?;
    host.until("the ticket is used, the backend is known: IK at once", 30, move |host| {
        host.connected.len() > sessions && host.connected.last() == Some(&Pattern::Ik)
    })?;
    host.until("records of the third boot have come", 20, |host| {
        host.oracle.boot(3).is_some_and(has_records)
    })?;
    host.finish()?;
    complete(host, 3)
}

fn has_records(boot: &crate::oracle::Boot) -> bool {
    boot.rates.len() >= 2
}

/// Nothing is missing of any boot.
fn complete(host: &Host, boots: u32) -> Result<(), Failure> {
    match (1..=boots).find_map(|boot| host.oracle.missing(boot)) {
        Some(missing) => Err(format!("missing: {missing}").into()),
        None => Ok(()),
    }
}

/// A command with a result, and one that the device does not know.
fn commands(host: &mut Host, boot: u32) -> Result<(), Failure> {
    let words = b"who are you?";
    let expected = [&boot.to_le_bytes()[..], words].concat();
    let (outcome, body) = host.command(command::IDENTIFY, words)?;
    if (outcome, &body) != (CommandOutcome::Done, &expected) {
        return Err(format!("a command's result is {outcome:?} {body:?}").into());
    }
    match host.command(99, b"")? {
        (CommandOutcome::Failed(command::UNKNOWN_KIND), _) => Ok(()),
        other => Err(format!("an unknown command's result is {other:?}").into()),
    }
}

fn reboot(host: &mut Host) -> Result<(), Failure> {
    match host.command(command::REBOOT, b"")? {
        (CommandOutcome::Done, _) => Ok(()),
        other => Err(format!("a reboot's result is {other:?}").into()),
    }
}

/// A device that only has to come through: with garbage in its storage, or too little heap at first.
fn plain(host: &mut Host) -> Result<(), Failure> {
    host.until("first contact", 120, |host| !host.connected.is_empty())?;
    host.until("records have come", 20, |host| host.oracle.boots.values().any(has_records))?;
    host.finish()?;
    let boot = host.oracle.boots.keys().next().copied().ok_or("a boot")?;
    host.oracle.missing(boot).map_or(Ok(()), |missing| Err(format!("missing: {missing}").into()))
}

/// Each pattern once, each as the first of a boot, for a device that measures itself: what it takes must not depend on
/// how many records wait.
fn figures(host: &mut Host) -> Result<(), Failure> {
    host.restart(false)?;
    host.until("first contact, by XX or to a pinned backend, without a ticket", 120, |host| {
        !host.connected.is_empty()
    })?;
    host.command(command::REKEY, b"")?;
    host.until("a DH ratchet was done", 20, |host| host.ratchets().1 > 0)?;
    host.until("records have come", 20, |host| host.oracle.boot(1).is_some_and(has_records))?;
    reboot(host)?;
    host.give_tickets();
    host.until("back by IK, with a ticket", 30, |host| host.connected.get(1) == Some(&Pattern::Ik))?;
    host.until("records of the second boot have come", 20, |host| {
        host.oracle.boot(2).is_some_and(has_records)
    })?;
    reboot(host)?;
    host.until("resumed from the flash, by the ticket", 30, |host| {
        host.connected.get(2) == Some(&Pattern::Resume)
    })?;
    host.until("records of the third boot have come", 20, |host| {
        host.oracle.boot(3).is_some_and(has_records)
    })?;
    host.finish()?;
    complete(host, 3)
}

/// Noise on the line, in both directions.
fn noise(host: &mut Host) -> Result<(), Failure> {
    host.until("connected over a noisy line", 90, |host| !host.connected.is_empty())?;
    host.until("the noise has hit 20 bytes, and alarms have come", 90, |host| {
        host.line.hits() >= 20 && host.oracle.boots.values().any(|boot| boot.alarms.len() >= 2)
    })?;
    host.finish()?;
    complete(host, 1)
}

/// The backend goes away in the middle of a handshake, twice, and comes back knowing nothing of it.
fn vanish(host: &mut Host) -> Result<(), Failure> {
    host.until("a Hello has come", 20, |host| host.hellos >= 1)?;
    host.line.deaf = true;
    host.restart(true)?;
    host.serve_for(Duration::from_millis(2500))?;
    host.line.deaf = false;
    let finishes = host.finishes;
    host.until("back, and a Finish has come", 30, move |host| host.finishes > finishes)?;
    host.line.deaf = true;
    host.restart(true)?;
    host.serve_for(Duration::from_millis(1500))?;
    host.line.deaf = false;
    let sessions = host.connected.len();
    host.until("back again, and connected anew", 60, move |host| host.connected.len() > sessions)?;
    host.until("records have come", 20, |host| host.oracle.boot(1).is_some_and(has_records))?;
    host.finish()?;
    complete(host, 1)
}

/// The device hangs, and its watchdog resets it.
fn reset(host: &mut Host) -> Result<(), Failure> {
    host.until("first contact, by XX", 120, |host| host.connected == [Pattern::Xx])?;
    host.until("the watchdog has reset the device, and it has resumed", 60, |host| {
        host.connected.last() == Some(&Pattern::Resume)
    })?;
    host.until("records of the second boot have come", 20, |host| {
        host.oracle.boot(2).is_some_and(has_records)
    })?;
    host.finish()
}
