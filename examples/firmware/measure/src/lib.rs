//! Instructions, stack and heap of an image on the emulated board, counted; and the lines that tell them.
//!
//! It knows nothing of what it measures. It brings no formatting code (`core::fmt`), so that an image with it stays
//! nearly as small as one without: every function of it has `firmware_measure` in its symbol, and
//! `examples/firmware/footprint` names their size apart.
//!
//! ```text
//! let mut meter = Meter::new().with_heap(&HEAP);
//! let mut xx = meter.operation("xx");
//! let hello = xx.run(|| device.poll_transmit(now, &mut rng, &mut out)); // counted
//! let reply = wait_for_a_packet();                                     // not counted
//! xx.run(|| device.handle_packet(now, reply, &mut |_| {}));            // counted
//! xx.tell(); // figure xx 7654321 instructions, figure xx.stack 3456 bytes, figure xx.heap 1234 bytes
//! ```
#![no_std]

mod counter;
#[cfg(feature = "heap")]
mod heap;
mod stack;
mod tell;

pub use counter::Counter;
#[cfg(feature = "heap")]
pub use heap::Heap;
pub use stack::Stack;
pub use tell::{fail, figure, say, succeed};

/// Measures operations: instructions, the stack below the caller, and the heap if the image told of one.
pub struct Meter {
    counter: Counter,
    stack: Stack,
    heap: Option<&'static dyn HeapGauge>,
}

impl Meter {
    /// Starts the timer and paints the stack.
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        Self { counter: Counter::new(), stack: Stack::paint(), heap: None }
    }

    /// Measures this heap, too.
    pub fn with_heap(mut self, heap: &'static dyn HeapGauge) -> Self {
        self.heap = Some(heap);
        self
    }

    /// Begins an operation of one or more calls. `name` is one word.
    pub fn operation<'m>(&'m mut self, name: &'static str) -> Operation<'m> {
        Operation { meter: self, name, tally: Tally::default() }
    }

    /// Goes on with an operation whose tally was kept aside, as when other code ran in between.
    pub fn resume<'m>(&'m mut self, name: &'static str, tally: Tally) -> Operation<'m> {
        Operation { meter: self, name, tally }
    }

    /// Tells the peaks of the whole run: `stack.peak`, and `heap.peak`, `heap.region` if there is a heap.
    pub fn tell_peaks(&mut self) {
        figure("stack.peak", self.stack.peak() as u64, "bytes");
        if let Some(heap) = self.heap {
            figure("heap.peak", heap.peak() as u64, "bytes");
            figure("heap.region", heap.region() as u64, "bytes");
        }
    }
}

/// What an operation took so far.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// The sum of its calls.
    pub instructions: u64,
    /// The most of its calls, in bytes below the caller.
    pub stack: usize,
    /// The most that it added to the heap, in bytes above what was in use when its first call began.
    pub heap: usize,
    heap_before: Option<usize>,
}

/// An operation that is being measured.
#[must_use = "`tell` prints the figures"]
pub struct Operation<'m> {
    meter: &'m mut Meter,
    name: &'static str,
    tally: Tally,
}

impl Operation<'_> {
    /// Runs one call of the operation.
    pub fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        if let Some(heap) = self.meter.heap {
            heap.mark();
            self.tally.heap_before.get_or_insert(heap.used());
        }
        self.meter.stack.mark();
        let (result, instructions) = self.meter.counter.count(work);
        self.tally.stack = self.tally.stack.max(self.meter.stack.since_mark());
        self.tally.instructions += instructions;
        if let (Some(heap), Some(before)) = (self.meter.heap, self.tally.heap_before) {
            self.tally.heap = self.tally.heap.max(heap.since_mark().saturating_sub(before));
        }
        result
    }

    /// Sets the operation aside, for [`Meter::resume`].
    pub fn tally(self) -> Tally {
        self.tally
    }

    /// Prints what the operation took: `name` in instructions, `name.stack` and, with a heap, `name.heap` in bytes.
    pub fn tell(self) {
        figure(self.name, self.tally.instructions, "instructions");
        tell::figure_of(self.name, ".stack", self.tally.stack as u64, "bytes");
        if self.meter.heap.is_some() {
            tell::figure_of(self.name, ".heap", self.tally.heap as u64, "bytes");
        }
    }
}

/// What a [`Meter`] asks of a heap.
pub trait HeapGauge: Sync {
    /// Returns what is in use, in bytes, as the allocator rounds it.
    fn used(&self) -> usize;
    /// Returns the most that was ever in use.
    fn peak(&self) -> usize;
    /// Begins anew with [`since_mark`](Self::since_mark).
    fn mark(&self);
    /// Returns the most in use since the mark.
    fn since_mark(&self) -> usize;
    /// Returns the size of the region that the heap has.
    fn region(&self) -> usize;
}
