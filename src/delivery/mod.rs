//! Nothing is lost: records are kept until they are settled, and each reaches the application once.
//!
//! A device's [`Outbox`] accepts encoded records, gives them their ids, cuts batches, keeps the retransmission
//! timers and frees what the backend has settled; it needs no heap. A backend's [`Inbox`] decides for each batch
//! which of its records are fresh, and settles them when the application has committed them; its [`Ledger`] is what
//! the application keeps durably. In between are Records, Ack, Streams, Credit and Refused frames; nothing here
//! knows of packets and sessions, or of what a record means.
//!
//! ```text
//! begin, append, commit ─► Outbox ─ next_batch, book ─► Records ─► offer ─► Inbox ─ Deliver ─► application
//!                            ▲                                                ▲                    │
//!                            └──── handle_ack ◄──── Ack ◄──── ack_for ────────┴─ commit, release ◄─┘
//! ```
//!
//! One record's way, without packets:
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use vitalwire::delivery::{AckOutcome, Inbox, LaneShares, Ledger, Offer, Outbox, StreamKey};
//! use vitalwire::framing::{BootTag, Lane, RecordsFrame};
//! use vitalwire::{CallError, Instant};
//!
//! // The device accepts a record ...
//! let mut memory = [0u8; 4096];
//! let mut outbox = Outbox::new(&mut memory, LaneShares::of_total(4096))?;
//! let now = Instant::from_millis(1_000);
//! let mut tx = outbox.begin(now, Lane::Event);
//! tx.append_bytes(now, b"a fact")?;
//! assert_eq!(tx.commit().first, 0);
//!
//! // ... and sends it: the stream has the index 1 in this session.
//! let mut body = [0u8; 200];
//! let lane = outbox.ready_lane(now, body.len()).unwrap();
//! let batch = outbox.next_batch(lane, 1, &mut body).unwrap();
//! let packet_out = &body[..batch.len];
//! outbox.book(now, batch, 0);
//!
//! // The backend has heard the stream's name, and gets the batch twice.
//! let stream = StreamKey { boot: 1, tag: BootTag([7; 4]), lane: Lane::Event };
//! let mut known = Ledger::default();
//! known.settle_below(stream, 0).unwrap();
//! let mut inbox = Inbox::new(known, 0);
//! let frame = RecordsFrame::parse(packet_out).unwrap();
//! let Offer::Deliver { batch, fresh } = inbox.offer(stream, frame.first, frame.count) else { panic!() };
//! assert_eq!(fresh, 0b1);
//! assert_eq!(inbox.offer(stream, frame.first, frame.count), Offer::Awaiting);
//!
//! // The application stores record and mark in one transaction, then commits: now it is acknowledged.
//! let mut stored = Ledger::default();
//! assert_eq!(stored.apply(&inbox.mark(batch).unwrap()), Ok(0b1));
//! inbox.commit(batch);
//! assert_eq!(inbox.offer(stream, frame.first, frame.count), Offer::Repeated);
//! let ack = inbox.ack_for(&stream, 1).unwrap();
//! assert_eq!(outbox.handle_ack(now, Lane::Event, &ack), AckOutcome::Settled(1));
//! assert!(outbox.is_empty());
//! # }
//! # Ok::<(), vitalwire::CallError>(())
//! ```

mod outbox;

#[cfg(feature = "alloc")]
mod clock;
#[cfg(feature = "alloc")]
mod inbox;
#[cfg(feature = "alloc")]
mod ledger;
#[cfg(feature = "alloc")]
mod stream_state;
#[cfg(feature = "alloc")]
mod table;

#[cfg(all(test, feature = "alloc"))]
mod tests;

#[cfg(feature = "alloc")]
pub use clock::{ClockMap, ClockMapError, ClockReading, Mapped, Observed};
#[cfg(feature = "backend")]
pub(crate) use inbox::Pending;
#[cfg(feature = "alloc")]
pub use inbox::{BatchNumber, Inbox, Named, Offer, TagConflict};
#[cfg(feature = "alloc")]
pub use ledger::{ClosedStream, Ledger, LedgerError, Mark, StreamKey};
pub use outbox::{
    Accepted, AckOutcome, CutBatch, LaneFill, LaneNotice, LanePolicy, LaneShares, LaneTx, Outbox,
};
pub use outbox::{Backlog, LoadRefusal, Queue, StoredRun};
#[cfg(feature = "alloc")]
pub use stream_state::StreamState;
#[cfg(feature = "alloc")]
pub use table::{IndexedStream, NamedSet, StreamTable, StreamsCheck};

/// Returns a mask of the low `count` bits, all of them from 64 on.
#[cfg(feature = "alloc")]
fn low_bits(count: u64) -> u64 {
    match u32::try_from(count) {
        Ok(count @ 0..64) => 1u64.wrapping_shl(count).wrapping_sub(1),
        _ => u64::MAX,
    }
}
