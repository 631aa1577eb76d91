//! Both front ends joined by a hostile link, in virtual time.
//!
//! Every test prints its seed; `VITALWIRE_SEED=n cargo test --test sim` runs the seeded ones with that seed alone,
//! `VITALWIRE_SEEDS=n` with n times as many seeds.

mod adversary;
mod amplification;
mod app;
mod calls;
mod delivery;
mod handshakes;
mod kit;
mod lifecycle;
mod link;
mod malicious;
mod puppet;
mod rekeys;
mod sessions;
mod world;
