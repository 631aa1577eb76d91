//! For authors of firmware: a device from provisioning to production.
//!
//! The library does no I/O. It asks five things of firmware, each with a section here: [time](#time),
//! [randomness](#randomness), a [link](#sleep-and-radio), [storage](#storage-and-power-loss) if records are to survive a power cut, and
//! a [loop](#the-run-loop). A complete image with all of them, which runs in an emulator against a real backend, is
//! `examples/firmware` in the repository. What to do on each error, event and discard: [`answers`](super::answers).
//!
//! # Choosing features
//! | the device | features (`default-features = false`) | what it costs |
//! |---|---|---|
//! | verifies credentials: any backend of its authorities, or a pinned one | `device` | all of it: snow, Ed25519 and SHA-512 |
//! | trusts one backend key that was pinned when it was provisioned | `pinned-device` | no Ed25519, no SHA-512; that backend's key cannot change without new firmware settings |
//! | has a driver of its own, and no heap | none | [`session`](crate::session), [`delivery`](crate::delivery), [`framing`](crate::framing), [`wire`](crate::wire): the handshake is yours |
//! | logs with `defmt` | and `defmt` | forms for errors, events, discards and states; texts stay on the host |
//!
//! Build with `opt-level = "s"`, `lto = "fat"`, `codegen-units = 1` and `panic = "abort"`. Figures of flash, RAM, stack and
//! instructions for each tier are printed by `examples/firmware/footprint`, from the very image that talks to the backend;
//! none is repeated here, as they change with the compiler.
//!
//! # Memory map
//! | what | where | how large | secret |
//! |---|---|---|---|
//! | image | flash | `examples/firmware/footprint` | no |
//! | static key, or the handle of a secure element ([`StaticDh`](crate::crypto::StaticDh)) | flash that is not read out: protected, or a chip | 32 bytes | yes |
//! | public key, credential, anchors, the backend's pin | flash, written when provisioned | 32, at most [`MAX_CREDENTIAL`](crate::limits::MAX_CREDENTIAL), 32 per authority | no |
//! | [`StorageKey`](crate::crypto::StorageKey) | not in the flash that it seals: option bytes, backup registers, a chip | 32 bytes | yes |
//! | regions and items of [`storage`](crate::storage) | flash of their own, sealed | records to be kept × their size; the example `wear` of `integrations/flash` says for how long it lives | sealed |
//! | [`Device`](crate::device::Device) | a `static`, or the frame of `main` | `size_of::<Device>()`: `cargo run --release --example sizes` | yes: session keys |
//! | [`DeviceMemory::outbox`](crate::device::DeviceMemory::outbox) | `static` RAM | what the link may be down for × bytes per second; [`LaneShares`](crate::delivery::LaneShares) splits it | patient data |
//! | [`DeviceMemory::backlog`](crate::device::DeviceMemory::backlog) | `static` RAM, with storage only | [`StorageConfig::memory_len`](crate::device::StorageConfig::memory_len) | patient data |
//! | buffer of `poll_transmit` | `static` RAM or stack | the larger of [`MAX_HELLO`](crate::limits::MAX_HELLO) and the link's `max_packet` | no |
//! | [`Reassembler`](crate::wire::link::Reassembler), [`CobsDecoder`](crate::wire::link::CobsDecoder) | `static` RAM | the largest packet towards the device: [`Limits::max_packet`](crate::handshake::Limits::max_packet) | no |
//! | heap | a region of its own | see [Heap and stack](#heap-and-stack) | handshake secrets, while one runs |
//!
//! RAM that holds secrets or patient data belongs into a region that a debugger cannot read in production, and that a
//! warm boot clears.
//!
//! # Provisioning
//! Once, in a place that is trusted:
//!
//! 1. The device draws its static key from its own tested generator ([Randomness](#randomness)), and shows the public half. A key that
//!    never leaves the chip cannot be copied in the factory.
//! 2. The authority signs who that is ([`Authority::issue`](crate::identity::Authority::issue)): subject, scopes, validity. The subject
//!    is never a patient's name.
//! 3. The device gets its credential, the anchors, whom to expect (`expected` or `pin`), the psk if one is used, and today's date as its
//!    first time floor.
//! 4. It draws its storage key, and keeps it apart from the storage.
//! 5. The factory reads back what was written, makes one handshake with a backend of its own, and locks the debug port.
//!
//! ```
//! use vitalwire::crypto::{PublicKey, StaticSecret};
//! use vitalwire::{Entropy, EntropyError};
//! /// Step 1: the secret to keep, and the public half to show. It fails rather than take a poor key.
//! fn draw_identity(rng: &mut dyn Entropy) -> Result<(StaticSecret, PublicKey), EntropyError> {
//!     let secret = StaticSecret::generate(rng)?;
//!     let public = secret.public_key();
//!     Ok((secret, public))
//! }
//! ```
//!
//! The example `provision` shows the authority's side, with files.
//!
//! # Randomness
//! The one thing that no test on a bench shows to be wrong. [`Entropy`](crate::Entropy) states the contract; firmware must:
//!
//! - **Use a hardware generator**, as raw as the chip offers it, with an assessment of its min-entropy per sample from the vendor
//!   or from measurements (NIST SP 800-90B, section 3). Never a constant, the serial number, the uptime, an ADC pin that
//!   floats, or a generator in software with a seed from the factory. The library has no constructor that takes a seed.
//! - **Test it while it runs.** [`HealthTested`](crate::health::HealthTested) runs the repetition count and adaptive proportion tests of
//!   SP 800-90B, section 4.4, over each sample, and conditions what passed.
//! - **Wait at boot** until it is ready: clock on, seed errors clear, [`start_up`](crate::health::HealthTested::start_up) passed. Nothing else draws
//!   before that. The library draws at the first `poll_transmit` or `poll_storage`, not before.
//! - **Fail closed.** After a failed test there is no fallback. The device measures, stores what needs no randomness, shows
//!   its fault, and tries again after a reset; once a minute, say.
//! - **Never continue from a copy**: no generator state in flash, none in a RAM image that is restored after hibernation or
//!   cloned with the firmware. RAM that is kept through deep sleep is no copy.
//!
//! What happens where the source fails: `poll_transmit` returns [`CallError::Entropy`](crate::CallError::Entropy) if nothing can be sent
//! without it, an open session goes on, storage reports [`StorageTrouble::NoEntropy`](crate::device::StorageTrouble::NoEntropy) and stores
//! what needs no new salt. Nothing is lost; all of it is made up for.
//!
//! ## What the library hedges, and what not
//! | drawn | hedged with | if the generator repeats itself after each boot |
//! |---|---|---|
//! | ephemeral keys | the static key, through [`hedge_key`](crate::crypto::StaticDh::hedge_key), the boot tag and the number of the attempt | the same keys come again: nobody reads them without the static key, but forward secrecy is gone |
//! | salts of stored values | the storage key, the boot number, the number of salts drawn | no salt comes twice |
//! | the boot tag | nothing | lost or copied boot numbers are not noticed |
//! | static keys, storage keys | nothing | **two devices with one key** |
//! | jitter, tokens of a Ping | nothing; a failed draw costs the jitter | devices retry in step |
//!
//! The hedge is a second line. A device that counts on it has one line.
//!
//! # Time
//! [`Instant`](crate::Instant) is milliseconds since boot by a clock that never goes back and **goes on while the device sleeps**: the
//! low-power timer or the RTC, not SysTick. It stamps records and ends commands; a clock that stands still in sleep makes
//! commands live longer. A 32-bit counter of milliseconds wraps after 49 days: extend it to 64 bits.
//!
//! Wall-clock time is another matter: [`Device::set_wall_clock`](crate::device::Device::set_wall_clock) takes a source that the firmware
//! trusts for judging credentials; without one the time floor stands in, which only accepted credentials raise. Store it
//! (with storage the device does), and never take it from the network by itself.
//!
//! # The run loop
//! [`Device`](crate::device::Device#the-run-loop) states the order; here it is with a link and a flash driver. It has no unbounded wait, and it
//! tells the watch-dog's owner whether it came through.
//!
//! ```
//! use vitalwire::device::{Device, DeviceEvent, DeviceReceived};
//! use vitalwire::storage::{StorageReply, StorageRequest};
//! use vitalwire::{CallError, Entropy, Instant};
//!
//! trait Board {
//!     /// The next packet from the link, if one is there.
//!     fn receive<'b>(&mut self, buffer: &'b mut [u8]) -> Option<&'b mut [u8]>;
//!     fn send(&mut self, packet: &[u8]);
//!     fn flash(&mut self, request: StorageRequest<'_>) -> StorageReply<'_>;
//!     fn command(&mut self, received: DeviceReceived<'_>);
//!     fn event(&mut self, event: DeviceEvent);
//! }
//!
//! /// More of anything in one turn than the protocol ever needs is left to the next turn.
//! const BUDGET: usize = 64;
//!
//! /// One turn. An error is no reason to stop: nothing was lost, see `guide::answers`.
//! fn turn(
//!     now: Instant,
//!     device: &mut Device<'_>,
//!     rng: &mut dyn Entropy,
//!     board: &mut impl Board,
//!     buffer: &mut [u8],
//! ) -> Result<(), CallError> {
//!     for _ in 0..BUDGET {
//!         let Some(packet) = board.receive(buffer) else { break };
//!         device.handle_packet(now, packet, &mut |received| board_command(board, received));
//!     }
//!     device.handle_timeout(now);
//!     // Here sensors give their records: `device.record(now, lane, &record)`.
//!     for _ in 0..BUDGET {
//!         let Some(request) = device.poll_storage(now, rng) else { break };
//!         let reply = board.flash(request);
//!         device.handle_storage(now, reply);
//!     }
//!     let sent = (0..BUDGET).try_for_each(|_| match device.poll_transmit(now, rng, buffer) {
//!         Ok(Some(packet)) => Ok(board.send(packet)),
//!         Ok(None) => Err(Ok(())),
//!         Err(error) => Err(Err(error)),
//!     });
//!     while let Some(event) = device.poll_event() {
//!         board.event(event);
//!     }
//!     sent.err().unwrap_or(Ok(()))
//! }
//! # fn board_command(board: &mut impl Board, received: DeviceReceived<'_>) { board.command(received) }
//! ```
//!
//! `now` is read once per turn, before the packets. Interrupts put bytes and samples into queues and wake the loop; they never
//! call the device.
//!
//! # Sleep and radio
//! After a turn: sleep until the first of [`poll_timeout`](crate::device::Device::poll_timeout), the next sample, and a packet, if the radio
//! listens. [`radio`](crate::device::Device::radio) tells whether it has to. A device that wakes late loses time and nothing else.
//!
//! ```
//! use vitalwire::device::{Device, Radio};
//! use vitalwire::{CallError, Duration, Instant};
//! struct Nap {
//!     radio: bool,
//!     wake: Instant,
//! }
//! /// How to sleep after a turn that ended with `sent`.
//! fn nap(now: Instant, device: &Device<'_>, sent: &Result<(), CallError>, next_sample: Instant) -> Nap {
//!     let due = device.poll_timeout().unwrap_or(Instant::FAR_FUTURE).min(next_sample);
//!     // What failed may fail again at once: never spin on it.
//!     let due = if sent.is_err() { due.max(now + Duration::from_secs(1)) } else { due };
//!     match device.radio(now) {
//!         Radio::Off => Nap { radio: false, wake: due },
//!         Radio::Listen { until } => Nap { radio: true, wake: due.min(until.unwrap_or(due)) },
//!     }
//! }
//! ```
//!
//! Say at once what the link does: [`handle_link`](crate::device::Device::handle_link) with `Down` lets the device sleep without retrying, and `Up` ends a
//! pause. Small links (BLE, LoRa) and serial lines need an adapter: [`wire::link`](crate::wire::link). A device whose radio is off between its
//! packets says so in [`DeviceConfig::listen`](crate::device::DeviceConfig::listen), so that the backend speaks while it hears.
//!
//! # Storage and power loss
//! Without storage, records live in RAM until the backend has committed them. With
//! [`DeviceConfig::storage`](crate::device::DeviceConfig::storage) they survive a power cut once [`DeviceEvent::Stored`](crate::device::DeviceEvent::Stored) says so,
//! and so do boot number, ticket, pin and time floor. [`storage`](crate::storage) states the driver's contract in five
//! sentences; `integrations/flash` fulfils it on NOR flash. What is easily overlooked:
//!
//! - A reply of success is a promise. A driver that answers before the last word is programmed loses records.
//! - `Delete` of the ticket must be done before its reply: a ticket that comes back is used twice, and the service takes the device for
//!   a copied one.
//! - Flash operations block: an erase takes tens of milliseconds. Sensors sample by DMA meanwhile.
//! - Before a planned reboot or update: [`store_all`](crate::device::Device::store_all), and turns until
//!   [`is_all_stored`](crate::device::Device::is_all_stored); with a bound, as a flash may be full.
//! - On a falling supply do nothing clever: alarms are stored as they come, the rest within `spill_after`.
//! - Without storage the firmware must count boots itself ([`DeviceConfig::boot`](crate::device::DeviceConfig::boot)): a number that comes again, with other
//!   records, rests on the boot tag alone.
//!
//! # Watch-dog
//! Feed it in one place, at the end of a turn, and only if everything that must move has moved: the loop came round, the
//! sensors gave samples, the storage answered. Never in a timer's interrupt, which also runs while the loop hangs. The time-out is
//! longer than the longest turn: one handshake step (`examples/firmware/footprint` prints its instructions) and one erase.
//!
//! ```
//! use vitalwire::{Duration, Instant};
//! struct Progress {
//!     sampled: Instant,
//!     stored: Instant,
//! }
//! impl Progress {
//!     /// Whether to feed: no sample, or a request to the flash without an answer, for too long means no. That nothing
//!     /// was sent means nothing: the backend may be away for days.
//!     fn is_alive(&self, now: Instant, storage_waits: bool) -> bool {
//!         let sampling = now.since(self.sampled) < Duration::from_secs(10);
//!         let storing = !storage_waits || now.since(self.stored) < Duration::from_secs(5);
//!         sampling && storing
//!     }
//! }
//! ```
//!
//! A backend that is away, a link that is down and a full lane are no faults: a reset would lose what waits in RAM.
//! The reset's reason belongs into a record (an event) of the next boot.
//!
//! # Heap and stack
//! With the handshake comes `alloc`: snow boxes its parts. What a handshake takes, and that all of it is given back, is held by
//! `tests/heap.rs` and printed by `cargo run --release --example sizes`; sessions and records take none. The identity, the outbox's state and, with storage, its state are
//! allocated once, at the start. Give the allocator a region that nothing else uses: then it cannot fragment, and the figure
//! that the footprint report prints is the size to reserve, with a margin for the allocator's own headers. Where
//! the library finds no room it says so before it begins ([`CallError::OutOfMemory`](crate::CallError::OutOfMemory)), and aborts nothing;
//! the firmware's own allocations that fail call the allocator's error handler. Either is a wrong size, to be found on the bench.
//!
//! The deepest stack is in the handshake's X25519. Run it on the main stack, paint the stack (`examples/firmware` does), and put the
//! stack below the statics, so that an overflow faults instead of writing over them.
//!
//! # Logging
//! With the feature `defmt` every error, event, discard and state has a form; ids are hexadecimal, bodies are lengths, secret
//! types show their name. Records have none: what a log shows of a patient is the application's decision. Log each event, and the
//! discards once an hour, not each packet.
//!
//! ```
//! use vitalwire::device::Device;
//! fn log(device: &mut Device<'_>) {
//!     while let Some(event) = device.poll_event() {
//!         #[cfg(feature = "defmt")]
//!         defmt::info!("{}", event);
//!         # let _ = event;
//!     }
//!     #[cfg(feature = "defmt")]
//!     defmt::debug!("{}", device.discards());
//! }
//! ```
//!
//! # Updates
//! - Drain or [`store_all`](crate::device::Device::store_all) first; say goodbye with [`disconnect`](crate::device::Device::disconnect), send what `poll_transmit` still has, then reboot.
//! - An image comes over a channel of its own and is verified under a key of its own: this protocol carries records and
//!   commands of 256 bytes. A command may start the update.
//! - The new image keeps: static key, credential, storage key, regions. It may bring another descriptor set, as each boot names its own.
//! - Storage that an older version wrote opens, or is skipped, reported and counted; it never stops the start.
//! - A credential that runs out needs a new one before: the update channel, or a command of the application, brings it.
//!
//! # Before production
//! 1. The generator: raw samples of several devices, cold and hot, at both ends of the supply, were assessed; the health
//!    limits follow from the lowest. A test build with a stuck source fails to connect and says why.
//! 2. No two devices share a static key or a storage key: the factory compares public keys.
//! 3. Debug port locked, flash read-out protected, logs without patient data.
//! 4. Power cut at random times for a night, with storage: nothing that was `Stored` is missing at the backend.
//! 5. The link down for the longest time that is promised: lanes fill as planned, alarms still get in, nothing else is
//!    dropped than the policies say.
//! 6. Line noise, a backend that stops in mid-handshake, a flash full of garbage: no reset, no hang (`examples/firmware` runs them).
//! 7. Clock: commands expire in deep sleep as they do awake; the counter was run past its wrap.
//! 8. Stack and heap marks read back after a week: below what is reserved.
//! 9. The watch-dog bites: with the loop, the sensor and the flash blocked, one after the other.
//! 10. Each row of [`answers`](super::answers) has its place in the firmware, or a reason why not.
//! 11. SECURITY.md of the repository, "What is not claimed", was read by who answers for the device.
