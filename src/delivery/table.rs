use alloc::vec::Vec;

use super::StreamKey;
use crate::framing::StreamsFrame;

/// The stream indices of one session, and the order of its Streams frames.
///
/// It knows nothing of what is settled; [`Inbox`](super::Inbox) does.
#[derive(Clone, Debug, Default)]
pub struct StreamTable {
    streams: Vec<(u8, StreamKey)>,
    newest: Option<u64>,
}

/// What to do with a Streams frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamsCheck {
    /// Hand it to [`Inbox::handle_streams`](super::Inbox::handle_streams).
    Taken,
    /// A newer one overtook it: ignore it.
    Overtaken,
    /// It gives an index another stream, or a stream another index: close the session with reason 2.
    Contradiction,
}

impl StreamTable {
    /// Takes the indices of a Streams frame that came in the packet with this counter.
    pub fn handle_streams(&mut self, packet: u64, frame: &StreamsFrame<'_>) -> StreamsCheck {
        //= SPEC.md#stream-names
        //# A backend MUST treat a Streams frame that gives an index another stream, or a stream another index, than an earlier one of the session as malformed.
        for NamedStream { index, key, .. } in named_streams(frame) {
            if self.streams.iter().any(|(known, stream)| (*known == index) != (*stream == key)) {
                return StreamsCheck::Contradiction;
            }
            if self.key(index).is_none() {
                self.streams.push((index, key));
            }
        }
        //= SPEC.md#stream-names
        //# A backend MUST ignore a Streams frame in a packet whose counter is below that of another Streams frame of the session, but for its indices.
        if self.newest.is_some_and(|newest| packet < newest) {
            return StreamsCheck::Overtaken;
        }
        self.newest = Some(packet);
        StreamsCheck::Taken
    }

    /// Returns the stream with this index.
    pub fn key(&self, index: u8) -> Option<StreamKey> {
        self.streams.iter().find(|(known, _)| *known == index).map(|(_, key)| *key)
    }

    /// Lists the indices with their streams.
    pub fn iter(&self) -> impl Iterator<Item = (u8, StreamKey)> + '_ {
        self.streams.iter().copied()
    }
}

/// One stream of a Streams frame.
pub(super) struct NamedStream {
    pub(super) index: u8,
    pub(super) key: StreamKey,
    pub(super) oldest: u64,
}

/// Lists the streams of all boots: at most [`MAX_STREAMS`](crate::limits::MAX_STREAMS), as their indices differ.
pub(super) fn named_streams(frame: &StreamsFrame<'_>) -> Vec<NamedStream> {
    let mut named = Vec::new();
    for boot in frame.boots() {
        let key = |lane| StreamKey { boot: boot.boot, tag: boot.tag, lane };
        named.extend(boot.streams().map(|stream| NamedStream {
            index: stream.index,
            key: key(stream.lane),
            oldest: stream.oldest,
        }));
    }
    named
}
