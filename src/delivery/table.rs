use alloc::vec::Vec;

use super::StreamKey;
use crate::framing::{SetHash, StreamsFrame};

/// The stream indices of one session, and the order of its Streams frames.
///
/// An index stands for a stream and the descriptor set of the records that come under it. It knows nothing of what is
/// settled; [`Inbox`](super::Inbox) does.
#[derive(Clone, Debug, Default)]
pub struct StreamTable {
    streams: Vec<IndexedStream>,
    newest: Option<u64>,
}

/// What a stream index stands for in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IndexedStream {
    /// The index, 0 to 15.
    pub index: u8,
    /// The stream.
    pub key: StreamKey,
    /// The descriptor set of the records that come under this index.
    pub set: SetHash,
}

/// What to do with a Streams frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamsCheck {
    /// Hand it to [`Inbox::handle_streams`](super::Inbox::handle_streams).
    Taken,
    /// A newer one overtook it: ignore it.
    Overtaken,
    /// It gives an index another stream or set, or a stream with the same set another index: close the session with
    /// reason 2.
    Contradiction,
}

impl StreamTable {
    /// Takes the indices of a Streams frame that came in the packet with this counter.
    pub fn handle_streams(&mut self, packet: u64, frame: &StreamsFrame<'_>) -> StreamsCheck {
        //= SPEC.md#stream-names
        //# A backend MUST treat a Streams frame that gives an index another stream or set, or a stream with the same set another index, than an earlier one of the session as malformed.
        let named = named_streams(frame);
        for NamedStream { stream, .. } in &named {
            let same = |known: &IndexedStream| (known.key, known.set) == (stream.key, stream.set);
            if self.streams.iter().any(|known| (known.index == stream.index) != same(known)) {
                return StreamsCheck::Contradiction;
            }
            if self.get(stream.index).is_none() {
                self.streams.push(*stream);
            }
        }
        //= SPEC.md#stream-names
        //# A backend MUST ignore a Streams frame in a packet whose counter is below that of another Streams frame of the session, but for its indices.
        if self.newest.is_some_and(|newest| packet < newest) {
            return StreamsCheck::Overtaken;
        }
        self.newest = Some(packet);
        self.streams.sort_by_key(|known| named.iter().any(|named| named.stream == *known));
        StreamsCheck::Taken
    }

    /// Returns what this index stands for.
    pub fn get(&self, index: u8) -> Option<IndexedStream> {
        self.streams.iter().find(|known| known.index == index).copied()
    }

    /// Lists the indices, those last that the newest Streams frame named.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = IndexedStream> + '_ {
        self.streams.iter().copied()
    }
}

/// One stream of a Streams frame.
pub(super) struct NamedStream {
    pub(super) stream: IndexedStream,
    pub(super) oldest: u64,
}

/// Lists the streams of all boots: at most [`MAX_STREAMS`](crate::limits::MAX_STREAMS), as their indices differ.
pub(super) fn named_streams(frame: &StreamsFrame<'_>) -> Vec<NamedStream> {
    let mut named = Vec::new();
    for boot in frame.boots() {
        let key = |lane| StreamKey { boot: boot.boot, tag: boot.tag, lane };
        named.extend(boot.streams().map(|stream| NamedStream {
            stream: IndexedStream { index: stream.index, key: key(stream.lane), set: boot.set },
            oldest: stream.oldest,
        }));
    }
    named
}
