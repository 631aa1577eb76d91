//! What firmware does on each error, event and discard.
//!
//! One row for each variant; `tests/guide.rs` holds the tables complete and in the order of the types. Everywhere: nothing is
//! lost by an error, and none is a reason to stop the loop or to reset.
//!
//! # Errors of calls: [`CallError`](crate::CallError)
//! Nothing has changed when a call returns one.
//!
//! | variant | from | what to do |
//! |---|---|---|
//! | `BufferTooSmall` | `poll_transmit` | Give a buffer of 512 bytes, or of the link's `max_packet` if that is more. A fault of the build. |
//! | `Entropy` | `poll_transmit` | Pause for a second or more, call again; show the fault if it lasts. See [Randomness](super::firmware#randomness). |
//! | `OutOfMemory` | `Device::new`, `poll_transmit` | Give the library a larger heap of its own: a fault of the build. Meanwhile go on: a session stays, a handshake is tried again by itself. |
//! | `InvalidConfig` | `Device::new`, `poll_transmit` | At the start: the text says which setting; a fault of the build or of provisioning. Later only if the secure element fails: pause, call again. |
//! | `LaneFull` | `record` | With storage: serve `poll_storage`, try again. Else keep the record if it is an alarm, and try again after the next acknowledgement; tell the wearer if alarms do not get in. |
//! | `Thinned` | `record` | Nothing: the policy asked for it. |
//! | `QuotaExceeded` | `record` | Nothing, or record that channel less often. |
//! | `RecordTooLong` | `record` | Split the record; waveforms are split by the device. A fault of the build if `smallest_packet` is right. |
//! | `BadRecord` | `record` | A fault of the build: the record does not fit its channel's descriptor. |
//! | `BadDescriptors` | `extend_descriptors` | A fault of the build: a set only grows within a boot. |
//! | `OutOfScope` | `record` | The credential does not permit it: leave that sensor off, have a new credential issued. |
//! | `StaleHandle` | `command_result` | Nothing: nobody waits for that result any more. |
//! | `BadCommand` | `command_result` | Shorten the result to 64 bytes, or to what the smallest packet takes. |
//! | `TooManyCommands` | a backend only | Does not come from a device. |
//! | `NoSession` | `sync_time` | Call again after `Connected`. |
//! | `BadGrant` | a backend only | Does not come from a device. |
//! | `AuditBacklog` | a backend only | Does not come from a device. |
//!
//! # Events: [`DeviceEvent`](crate::device::DeviceEvent)
//! | variant | what to do |
//! |---|---|
//! | `Connected` | Store `backend` and `time_floor`; with storage the device has. Show that it is connected. |
//! | `Disconnected` | Show it. The device connects again where that helps: see the reasons below. |
//! | `ConnectFailed` | Log the reason; the next attempt comes by itself. After many with one reason: see the discards below. |
//! | `RecordsRefused` | An incident: log it with stream, numbers and reason. The records are gone; what they stood for may have to be recorded in another form. |
//! | `LaneNearlyFull` | Record less on that lane; for the alarm lane tell the wearer that nobody hears them. |
//! | `LaneEased` | Record as before. |
//! | `RecordsDropped` | Log it. The backend hears of it by a gap record. |
//! | `Stored` | These may be given up elsewhere, such as in a sensor's own memory. |
//! | `StorageTrouble` | See below. |
//! | `CommandRefused` | Log it. If it comes often with `TooLate`: the clock, or `listen`, is wrong. |
//! | `TicketMisused` | An incident: the device's memory was copied, or its storage put back. Report it in a record; consider the static key stolen, too. |
//! | `CredentialRenewed` | Store `Device::credential()` where the credential is. Until that is done, a reboot has the old one, which stays good until its own end. |
//! | `EventsLost` | Poll events each turn. Read `is_connected`, `fill` and `is_all_stored` instead of what was missed. |
//!
//! # What comes for the application: [`DeviceReceived`](crate::device::DeviceReceived)
//! | variant | what to do |
//! |---|---|
//! | `Command` | Look at the deadline, do it, answer with `command_result`. What takes long is begun, and answered from the loop later. |
//! | `Extension` | Nothing, unless both ends agreed on this type. |
//!
//! # Trouble with storage: [`StorageTrouble`](crate::device::StorageTrouble)
//! | variant | what to do |
//! |---|---|
//! | `Unavailable` | This boot runs from RAM: a power cut loses what waits. Show it, look at the flash, restart when nothing waits. |
//! | `Unreadable` | The storage key has changed, or the table is damaged: what earlier boots stored is lost. Report it in a record. |
//! | `TooManyBoots` | The device reboots all the time, and never gets connected: find out why. It stores again once a boot is drained. |
//! | `Full` | The lane's records stay in RAM. As for `LaneNearlyFull`. |
//! | `Failed` | It is asked again by itself. If it lasts, the flash is worn out or the driver blocked. |
//! | `PinUnreadable` | Look at the flash. Until the next boot any backend of the device's authorities is taken, unless `expected` or `pin` is configured. |
//! | `NoEntropy` | As for `CallError::Entropy`. What needs no salt is stored. |
//! | `Corrupt` | Report it in a record. If it comes again after each power cut, the driver breaks its contract. |
//!
//! # Why a session ended: [`CloseReason`](crate::CloseReason)
//! | variant | what it means on a device | what to do |
//! |---|---|---|
//! | `Application` | This firmware, or the service, ended it; or a larger descriptor set needs a new session. | Nothing. |
//! | `ProtocolViolation` | One end is of another version, or faulty. | Report it with both versions. |
//! | `Refused` | The service does not want this device. | Register the device there; it asks again by itself, after long pauses. |
//! | `Replaced` | A newer session took its place. | Nothing. If nobody connected anew: another device has this identity. |
//! | `Idle` | Nothing was heard for too long. | Nothing: the link was down, or nothing was recorded. |
//! | `SessionAge` | It was a day old. | Nothing. |
//! | `PacketLimit` | A rekey did not come in time. | Nothing; if it comes often, the generator fails, or the backend does not answer rekeys. |
//! | `ForgeryLimit` | Somebody sends forged packets. | Report it. |
//! | `Draining` | That node goes off. | Nothing. |
//! | `Revoked` | The identity was revoked. | The device has stopped connecting by itself. Keep the records; have it provisioned anew. |
//! | `TicketConflict` | A ticket of this device was used twice. | As for `TicketMisused`. |
//! | `Unknown` | The backend is newer. | Nothing. |
//!
//! # Refused records: [`RefusedReason`](crate::framing::RefusedReason)
//! | variant | what to do |
//! |---|---|
//! | `OutOfScope` | The service granted less than the credential says: have that put right. |
//! | `Undecodable` | A fault of one end: report it with both versions. |
//!
//! # Refused commands: [`CommandRefusal`](crate::framing::CommandRefusal)
//! | variant | what to do |
//! |---|---|
//! | `OutOfScope` | Nothing: the service may not command this device. |
//! | `OtherBoot` | Nothing: the device has restarted since. |
//! | `TooLate` | Nothing; look at the clock if it comes often. |
//! | `Superseded` | Nothing. |
//!
//! # Discards: [`Discard`](crate::Discard)
//! Packets, or parts of them, that were dropped and counted. Single ones are everyday life on a network. Log the counters once in
//! a while; a row says what a *steady* rise means.
//!
//! | variant | what a steady rise means on a device |
//! |---|---|
//! | `TooShort` | Noise on the line, or a link adapter that cuts. |
//! | `TooLong` | A link adapter that joins packets, or a backend that does not know the device's `Limits`. |
//! | `MalformedHeader` | Noise, or another protocol on this port. |
//! | `UnknownVersion` | A backend of another version: update one of them. |
//! | `UnknownType` | The same, or fragments that were not put together (`wire::link`). |
//! | `WrongDirection` | The link echoes what the device sends. |
//! | `UnknownConnection` | Packets of an earlier session, or for another device. |
//! | `UnknownEpoch` | Packets that were under way for very long. |
//! | `EpochOrder` | Somebody tampers. |
//! | `StaleCounter` | The link reorders by more than 128 packets. |
//! | `Replayed` | The link duplicates, or somebody replays. |
//! | `Forged` | Noise on a line without a checksum, or somebody tampers. |
//! | `MalformedFrames` | A backend of another version; the session ends with `ProtocolViolation`. |
//! | `ShortHello` | A backend only. |
//! | `BadHelloMac` | A backend only. |
//! | `DuplicateHello` | A backend only. |
//! | `HandshakeFailed` | The pinned key, the psk or the ticket is not the backend's; or somebody answers in its place. |
//! | `MalformedPayload` | A backend of another version. |
//! | `BadCredential` | The backend's credential has expired, or is of an authority that this device does not trust; or the device's clock is wrong. |
//! | `BelowFloor` | Another backend than the pinned or expected one answers. |
//! | `Unsolicited` | Late answers, or somebody makes them up. |
//! | `BadTicket` | A backend only. |
//! | `ExpiredTicket` | A resumption that was too late; the full handshake follows by itself. |
//! | `TicketReused` | A backend only. |
//! | `TicketUnclaimed` | A backend only. |
//! | `Revoked` | A backend only. |
//! | `TooManyPending` | A backend only. |
//! | `RateLimited` | A backend only. |
//! | `CookieRequired` | A backend only. |
//! | `Draining` | A backend only. |
//! | `NotAccepted` | A backend only. |
//! | `UnknownStream` | A backend only. |
//! | `UnknownDescriptors` | A backend only. |
//! | `AwaitingCommit` | A backend only. |
//! | `RepeatedRecords` | A backend only. |
//! | `OutsideLedger` | A backend only. |
//! | `Backpressure` | A backend only. |
//! | `ScopeRefused` | A backend only. |
//! | `MalformedRecords` | A backend only. |
//! | `UntimelyRekey` | Packets that come very late, or a faulty backend. |
//! | `UnknownExtension` | The backend is newer. |
//! | `CommandRefused` | See the event of that name. |
//! | `RepeatedCommand` | Results get lost on the way. |
//! | `ImplausibleTime` | The backend's time stamps are of another boot, or somebody tampers. |
//! | `SessionClosed` | Packets after the end of a session. |
//! | `CorruptStorage` | See `StorageTrouble::Corrupt`. |
//! | `UnaskedReply` | The firmware answers a request twice. |
//!
//! # Discards of links: [`LinkDiscard`](crate::wire::link::LinkDiscard)
//! | variant | what a steady rise means |
//! |---|---|
//! | `TooShort` | Noise, or another protocol on this line. |
//! | `TooLong` | The buffer is smaller than what this end announced. |
//! | `Mismatched` | The far end changes its fragments' size in mid-packet. |
//! | `Repeated` | The link duplicates. |
//! | `Stale` | The link reorders. |
//! | `Displaced` | The link loses fragments. |
//! | `TimedOut` | The link loses fragments. |
//! | `Garbled` | Noise, a wrong baud rate, or a receive queue that overruns. |
//!
//! # Errors of links: [`LinkError`](crate::wire::link::LinkError)
//! | variant | what to do |
//! |---|---|
//! | `BufferTooSmall` | Give more. A fault of the build. |
//! | `LinkTooSmall` | Wait for a larger link: below 20 bytes nothing crosses. |
//! | `EmptyPacket` | A fault of the build. |
//! | `PacketTooLong` | Drop the packet: the protocol repeats it in smaller ones. Tell the device a smaller `max_packet`. |
//! | `OutOfSync` | Close the connection, open another one. |
//!
//! # Health of the random source: [`HealthError`](crate::health::HealthError)
//! | variant | what to do |
//! |---|---|
//! | `Stuck` | Fail closed, show the fault, restart after a pause. Again after the restart: the device is to be repaired. |
//! | `Biased` | The same. If it comes on healthy devices, the assessed min-entropy was too high. |
