//! All that can be counted of a shard, in one snapshot: for whoever watches the service.

use super::event::BackendEvent;
use super::{Backend, CommandOutcome, Path};
use crate::delivery::Mark;
use crate::error::Discards;
use crate::wire::Pattern;

/// Whether a value only rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// It only rises, but for a restart.
    Counter,
    /// It rises and falls.
    Gauge,
}

/// One value of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Metric {
    /// Its name, in the manner of Prometheus.
    pub name: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Whether it only rises.
    pub kind: MetricKind,
    /// What tells it from others of its name: a key and a value.
    pub label: Option<(&'static str, &'static str)>,
    /// The value.
    pub value: u64,
}

const PATTERNS: [&str; 5] = ["xx", "ik", "xxpsk3", "ikpsk2", "resume"];
const OUTCOMES: [&str; 5] = ["done", "failed", "refused", "not_sent", "unknown"];

impl CommandOutcome {
    const fn index(self) -> usize {
        match self {
            Self::Done => 0,
            Self::Failed(_) => 1,
            Self::Refused(_) => 2,
            Self::NotSent => 3,
            Self::Unknown => 4,
        }
    }

    /// Returns its name, without what it carries.
    pub fn name(self) -> &'static str {
        OUTCOMES.get(self.index()).copied().unwrap_or_default()
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $kind:ident $field:ident $name:literal $help:literal;)*) => {
        /// A snapshot of a shard: what it has done since it was made, and what it holds now.
        ///
        /// ```
        /// # use vitalwire::backend::{Backend, MetricKind};
        /// fn page(shard: &Backend<std::net::SocketAddr>) -> String {
        ///     let line = |metric: vitalwire::backend::Metric| match metric.label {
        ///         Some((key, value)) => format!("{}{{{key}=\"{value}\"}} {}\n", metric.name, metric.value),
        ///         None => format!("{} {}\n", metric.name, metric.value),
        ///     };
        ///     shard.counters().metrics().map(line).collect()
        /// }
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $(#[doc = $help] pub $field: u64,)*
            /// Sessions that were proved, by pattern: XX, IK, XXpsk3, IKpsk2, resumption.
            pub accepted: [u64; PATTERNS.len()],
            /// Commands that have ended: done, failed, refused, not sent, unknown.
            pub commands: [u64; OUTCOMES.len()],
            /// What was discarded, by reason.
            pub discards: Discards,
        }

        impl Counters {
            fn plain(&self) -> impl Iterator<Item = Metric> + '_ {
                [$(Metric {
                    name: $name,
                    help: $help,
                    kind: MetricKind::$kind,
                    label: None,
                    value: self.$field,
                },)*]
                .into_iter()
            }
        }
    };
}

counters! {
    Counter packets_received "vitalwire_packets_received_total" "Packets that came in.";
    Counter bytes_received "vitalwire_bytes_received_total" "Bytes of packets that came in.";
    Counter packets_sent "vitalwire_packets_sent_total" "Packets that went out.";
    Counter bytes_sent "vitalwire_bytes_sent_total" "Bytes of packets that went out.";
    Counter batches_delivered "vitalwire_batches_delivered_total" "Batches that were handed to the application.";
    Counter records_delivered "vitalwire_records_delivered_total" "Records in these batches.";
    Counter batches_committed "vitalwire_batches_committed_total" "Batches that were committed.";
    Counter records_committed "vitalwire_records_committed_total" "Records in these batches.";
    Counter batches_released "vitalwire_batches_released_total" "Batches that were released, as they could not be stored.";
    Counter handshakes_refused "vitalwire_handshakes_refused_total" "Handshakes of somebody who knew the Hello key that were refused.";
    Counter scope_refusals "vitalwire_scope_refusals_total" "Runs of records that were refused as out of scope.";
    Counter hash_ratchets "vitalwire_hash_ratchets_total" "Hash ratchets of sessions.";
    Counter dh_ratchets "vitalwire_dh_ratchets_total" "DH ratchets of sessions.";
    Counter tickets_given "vitalwire_tickets_given_total" "Tickets that were sent to devices, repetitions included.";
    Counter ticket_conflicts "vitalwire_ticket_conflicts_total" "Tickets that were used by two.";
    Counter tag_conflicts "vitalwire_tag_conflicts_total" "Boots that came with two boot tags.";
    Counter disconnects "vitalwire_disconnects_total" "Sessions that have ended.";
    Counter events_lost "vitalwire_events_lost_total" "Events that found no room before the application took them.";
    Counter audit_lost "vitalwire_audit_lost_total" "Audit events that found no room before they were logged.";
    Gauge sessions "vitalwire_sessions" "Sessions that are proved.";
    Gauge sessions_unproved "vitalwire_sessions_unproved" "Sessions whose device has not shown yet that it has them.";
    Gauge half_open "vitalwire_half_open" "Handshakes under way, those that wait for the application included.";
    Gauge pending_identities "vitalwire_pending_identities" "Devices with a handshake that waits for the application, or an unproved session.";
    Gauge pending_accepts "vitalwire_pending_accepts" "Handshakes that wait for the application to accept or refuse them.";
    Gauge hello_tokens "vitalwire_hello_tokens" "Hellos that may be read at once, of the rate in all.";
    Gauge handshake_tokens "vitalwire_handshake_tokens" "Handshakes that may be computed at once, of the rate in all.";
    Gauge retry_tokens "vitalwire_retry_tokens" "Retries that may be sent at once, of the rate in all.";
    Gauge under_load "vitalwire_under_load" "1 while Hellos need a cookie.";
    Gauge max_sessions "vitalwire_max_sessions" "Sessions and handshakes that there may be at once.";
    Gauge devices "vitalwire_devices" "Devices that have a session or an uncommitted batch.";
    Gauge outstanding_batches "vitalwire_outstanding_batches" "Batches that are neither committed nor released.";
    Gauge early_batches "vitalwire_early_batches" "Batches of resumptions that wait for the application.";
    Gauge jobs "vitalwire_handshake_jobs" "Handshake computations that nobody has taken yet.";
    Gauge ready_sessions "vitalwire_ready_sessions" "Sessions that have something to send.";
    Gauge handshake_packets "vitalwire_handshake_packets" "Handshake packets that wait to be sent.";
    Gauge events_waiting "vitalwire_events_waiting" "Events that wait for the application.";
    Gauge audit_waiting "vitalwire_audit_waiting" "Audit events that wait to be logged.";
    Gauge audit_essential_waiting "vitalwire_audit_essential_waiting" "Those of them that are essential.";
    Gauge break_glass "vitalwire_break_glass" "Break-glass grants that are in force.";
    Gauge renewals "vitalwire_renewals" "Renewals of credentials that are under way.";
    Gauge revocation_lists "vitalwire_revocation_lists" "Issuers with a revocation list in force.";
    Gauge descriptor_sets "vitalwire_descriptor_sets" "Descriptor sets that are remembered.";
    Gauge descriptor_bytes "vitalwire_descriptor_bytes" "Bytes of these sets.";
    Gauge enrolments "vitalwire_enrolments" "Factory secrets that are registered.";
    Gauge draining "vitalwire_draining" "1 while the node sends its devices away, and after it.";
}

impl Counters {
    /// Lists all values: each name has one kind and one help.
    pub fn metrics(&self) -> impl Iterator<Item = Metric> + '_ {
        let labelled = |name, help, key: &'static str, (label, value): (&'static str, u64)| Metric {
            name,
            help,
            kind: MetricKind::Counter,
            label: Some((key, label)),
            value,
        };
        let accepted = PATTERNS.into_iter().zip(self.accepted).map(move |one| {
            labelled("vitalwire_handshakes_accepted_total", "Sessions that were proved.", "pattern", one)
        });
        let commands = OUTCOMES.into_iter().zip(self.commands).map(move |one| {
            labelled("vitalwire_commands_total", "Commands that have ended.", "outcome", one)
        });
        let discards = self.discards.iter().map(move |(discard, count)| {
            let one = (discard.name(), u64::from(count));
            labelled(
                "vitalwire_discards_total",
                "Packets, or parts of them, that were discarded.",
                "reason",
                one,
            )
        });
        self.plain().chain(accepted).chain(commands).chain(discards)
    }
}

/// What a shard counts as it happens.
#[derive(Debug, Default)]
pub(super) struct Totals {
    received: (u64, u64),
    sent: (u64, u64),
    delivered: (u64, u64),
    committed: (u64, u64),
    released: u64,
    refused: u64,
    scopes: u64,
    ratchets: (u64, u64),
    pub(super) tickets_given: u64,
    ticket_conflicts: u64,
    tag_conflicts: u64,
    disconnects: u64,
    pub(super) events_lost: u64,
    /// Sessions that are proved, now.
    pub(super) online: u32,
    accepted: [u64; PATTERNS.len()],
    commands: [u64; OUTCOMES.len()],
}

const fn add(to: &mut (u64, u64), second: u64) {
    to.0 = to.0.saturating_add(1);
    to.1 = to.1.saturating_add(second);
}

const fn count(to: &mut u64) {
    *to = to.saturating_add(1);
}

impl Totals {
    pub(super) const fn received(&mut self, len: usize) {
        add(&mut self.received, len as u64);
    }

    pub(super) const fn sent(&mut self, len: usize) {
        add(&mut self.sent, len as u64);
    }

    pub(super) fn delivered(&mut self, mark: &Mark) {
        add(&mut self.delivered, mark.mask.count_ones().into());
    }

    /// A batch was committed or released.
    pub(super) fn settled(&mut self, mark: &Mark, stored: bool) {
        if stored {
            add(&mut self.committed, mark.mask.count_ones().into());
        } else {
            count(&mut self.released);
        }
    }

    pub(super) const fn rekeyed(&mut self, dh: bool) {
        count(if dh { &mut self.ratchets.1 } else { &mut self.ratchets.0 });
    }

    pub(super) fn event(&mut self, event: &BackendEvent) {
        match event {
            BackendEvent::Connected { pattern, .. } => {
                let index = match pattern {
                    Pattern::Xx => 0,
                    Pattern::Ik => 1,
                    Pattern::XxPsk3(_) => 2,
                    Pattern::IkPsk2 => 3,
                    Pattern::Resume => 4,
                };
                self.accepted.get_mut(index).into_iter().for_each(count);
            }
            BackendEvent::CommandEnded { outcome, .. } => {
                self.commands.get_mut(outcome.index()).into_iter().for_each(count);
            }
            BackendEvent::Disconnected { .. } => count(&mut self.disconnects),
            BackendEvent::HandshakeRefused(_) => count(&mut self.refused),
            BackendEvent::ScopeRefused { .. } => count(&mut self.scopes),
            BackendEvent::TicketConflict { .. } => count(&mut self.ticket_conflicts),
            BackendEvent::TagConflict { .. } => count(&mut self.tag_conflicts),
            _ => {}
        }
    }
}

impl<P: Path> Backend<P> {
    /// Takes a snapshot of all counters, as of the latest call. It looks at no session, so it costs the same however many
    /// there are; at handshakes under way it does look.
    pub fn counters(&self) -> Counters {
        let totals = &self.totals;
        let [hello_tokens, handshake_tokens, retry_tokens] =
            self.admission.tokens(self.latest).map(u64::from);
        let young = self.by_hello.values().filter_map(|at| self.slots.half_open(*at));
        let settled = totals.committed.0.saturating_add(totals.released);
        let (sets, set_bytes) = self.sets.size();
        let online = totals.online;
        Counters {
            packets_received: totals.received.0,
            bytes_received: totals.received.1,
            packets_sent: totals.sent.0,
            bytes_sent: totals.sent.1,
            batches_delivered: totals.delivered.0,
            records_delivered: totals.delivered.1,
            batches_committed: totals.committed.0,
            records_committed: totals.committed.1,
            batches_released: totals.released,
            handshakes_refused: totals.refused,
            scope_refusals: totals.scopes,
            hash_ratchets: totals.ratchets.0,
            dh_ratchets: totals.ratchets.1,
            tickets_given: totals.tickets_given,
            ticket_conflicts: totals.ticket_conflicts,
            tag_conflicts: totals.tag_conflicts,
            disconnects: totals.disconnects,
            events_lost: totals.events_lost,
            audit_lost: self.audit.lost(),
            sessions: online.into(),
            sessions_unproved: self.slots.used().saturating_sub(self.half_open).saturating_sub(online).into(),
            half_open: self.half_open.into(),
            pending_identities: self.pending_of.len() as u64,
            pending_accepts: young.filter(|half| half.is_pending()).count() as u64,
            hello_tokens,
            handshake_tokens,
            retry_tokens,
            under_load: self.is_loaded(self.latest).into(),
            max_sessions: self.config.max_sessions.into(),
            devices: self.devices.len() as u64,
            outstanding_batches: totals.delivered.0.saturating_sub(settled),
            early_batches: self.early.len() as u64,
            jobs: self.jobs.len() as u64,
            ready_sessions: self.ready.len() as u64,
            handshake_packets: self.outgoing.len() as u64,
            events_waiting: self.events.len() as u64,
            audit_waiting: self.audit.len() as u64,
            audit_essential_waiting: self.audit.essential() as u64,
            break_glass: self.glasses.len() as u64,
            renewals: self.renewals.len() as u64,
            revocation_lists: self.revocations.lists().count() as u64,
            descriptor_sets: sets as u64,
            descriptor_bytes: set_bytes as u64,
            enrolments: self.enrolments.len() as u64,
            draining: self.is_draining().into(),
            accepted: totals.accepted,
            commands: totals.commands,
            discards: self.discards.clone(),
        }
    }
}
