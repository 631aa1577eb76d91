use alloc::boxed::Box;
use alloc::vec::Vec;

use super::StreamKey;
use crate::framing::{BootTag, Lane, SetHash, StreamsFrame};

/// What a [`StreamTable`] keeps of a descriptor set: its hash, or something by which the set itself is at hand.
pub trait NamedSet: From<SetHash> {
    /// Returns the set's hash.
    fn hash(&self) -> SetHash;
}

impl NamedSet for SetHash {
    fn hash(&self) -> SetHash {
        *self
    }
}

/// The stream indices of one session, and the order of its Streams frames.
///
/// An index stands for a stream and the descriptor set of the records that come under it. It knows nothing of what is
/// settled; [`Inbox`](super::Inbox) does.
#[derive(Clone, Debug)]
pub struct StreamTable<S = SetHash> {
    groups: Box<[Group<S>]>,
    /// The indices, four bits each, from the lowest on; those last that the newest Streams frame named.
    order: u64,
    /// The counter of the packet with the newest Streams frame, plus one; 0 before the first.
    newest: u64,
}

/// The streams of one boot whose records come with one set: mostly all of a session.
#[derive(Clone, Debug)]
struct Group<S> {
    boot: u32,
    tag: BootTag,
    /// The index of each lane, or [`NONE`].
    indices: [u8; Lane::ALL.len()],
    set: S,
}

/// No index is above 15.
const NONE: u8 = u8::MAX;

impl<S> Group<S> {
    fn index_of(&self, lane: Lane) -> u8 {
        self.indices.get(lane.index()).copied().unwrap_or(NONE)
    }
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

impl Default for StreamTable {
    fn default() -> Self {
        Self::empty()
    }
}

impl<S: NamedSet> StreamTable<S> {
    /// Makes a table without streams.
    pub fn empty() -> Self {
        Self { groups: Box::default(), order: 0, newest: 0 }
    }

    /// Takes the indices of a Streams frame that came in the packet with this counter.
    pub fn handle_streams(&mut self, packet: u64, frame: &StreamsFrame<'_>) -> StreamsCheck {
        //= SPEC.md#stream-names
        //# A backend MUST treat a Streams frame that gives an index another stream or set, or a stream with the same set another index, than an earlier one of the session as malformed.
        let named = named_streams(frame);
        for NamedStream { stream, .. } in &named {
            let known = self.get(stream.index);
            let index = self.index_of(stream);
            if known.is_some_and(|known| known != *stream) || index.is_some_and(|index| index != stream.index)
            {
                return StreamsCheck::Contradiction;
            }
            if known.is_none() {
                self.insert(stream);
            }
        }
        //= SPEC.md#stream-names
        //# A backend MUST ignore a Streams frame in a packet whose counter is below that of another Streams frame of the session, but for its indices.
        let counter = packet.saturating_add(1);
        if counter < self.newest {
            return StreamsCheck::Overtaken;
        }
        self.newest = counter;
        let is_named = |index: &u8| named.iter().any(|named| named.stream.index == *index);
        let (mut order, mut shift) = (0u64, 0u32);
        let rest = self.indices().filter(|index| !is_named(index));
        for index in rest.chain(self.indices().filter(is_named)) {
            order |= u64::from(index).wrapping_shl(shift);
            shift = shift.saturating_add(4);
        }
        self.order = order;
        StreamsCheck::Taken
    }

    /// Reads a little of what is looked at to find an index.
    #[cfg(feature = "backend")]
    pub(crate) const fn touch(&self) -> u64 {
        self.groups.len() as u64 ^ self.newest
    }

    /// Reads a little of the first group: mostly there is no other.
    #[cfg(feature = "backend")]
    pub(crate) fn touch_groups(&self) -> u64 {
        self.groups.first().map_or(0, |group| {
            let SetHash([first, ..]) = group.set.hash();
            u64::from(group.boot) ^ u64::from(first)
        })
    }

    /// Returns what this index stands for.
    pub fn get(&self, index: u8) -> Option<IndexedStream> {
        let (key, set) = self.find(index)?;
        Some(IndexedStream { index, key, set: set.hash() })
    }

    /// Returns the stream of this index, and its set.
    pub fn find(&self, index: u8) -> Option<(StreamKey, &S)> {
        self.groups.iter().find_map(|group| {
            let at = group.indices.iter().position(|known| *known == index && index != NONE)?;
            let key = StreamKey { boot: group.boot, tag: group.tag, lane: *Lane::ALL.get(at)? };
            Some((key, &group.set))
        })
    }

    /// Lists the indices, those last that the newest Streams frame named.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = IndexedStream> + '_ {
        self.indices().filter_map(|index| self.get(index))
    }

    /// Lists what is kept of the sets, with the boots of which they are.
    pub fn sets(&self) -> impl Iterator<Item = (u32, BootTag, &S)> {
        self.groups.iter().map(|group| (group.boot, group.tag, &group.set))
    }

    /// Lists what is kept of the sets, to keep something else of them.
    pub fn sets_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.groups.iter_mut().map(|group| &mut group.set)
    }

    /// Lists the indices alone, in the order of [`StreamTable::iter`].
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = u8> + use<S> {
        let order = self.order;
        (0..self.count()).map(move |at| (order.wrapping_shr(u32::from(at).wrapping_mul(4)) & 0xf) as u8)
    }

    fn count(&self) -> u8 {
        let indices = self.groups.iter().flat_map(|group| group.indices);
        indices.fold(0, |count, index| count.saturating_add(u8::from(index != NONE)))
    }

    /// Returns the index of a stream with its set.
    fn index_of(&self, stream: &IndexedStream) -> Option<u8> {
        let group = self.groups.get(self.group_of(stream)?)?;
        Some(group.index_of(stream.key.lane)).filter(|index| *index != NONE)
    }

    fn group_of(&self, stream: &IndexedStream) -> Option<usize> {
        let IndexedStream { key, set, .. } = stream;
        self.groups
            .iter()
            .position(|group| (group.boot, group.tag) == (key.boot, key.tag) && group.set.hash() == *set)
    }

    fn insert(&mut self, stream: &IndexedStream) {
        let IndexedStream { index, key, set } = *stream;
        let at = self.group_of(stream).unwrap_or(self.groups.len());
        if at == self.groups.len() {
            let mut groups = core::mem::take(&mut self.groups).into_vec();
            // No room that is never used: most sessions have one group.
            groups.reserve_exact(1);
            groups.push(Group { boot: key.boot, tag: key.tag, indices: [NONE; _], set: S::from(set) });
            self.groups = groups.into_boxed_slice();
        }
        self.order |= u64::from(index).wrapping_shl(u32::from(self.count()).wrapping_mul(4));
        if let Some(slot) = self.groups.get_mut(at).and_then(|group| group.indices.get_mut(key.lane.index()))
        {
            *slot = index;
        }
    }
}

/// An index has four bits in the order.
const _: () = assert!(crate::limits::MAX_STREAMS == 16);

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
