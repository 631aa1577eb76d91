//! Both front ends joined by a hostile link, in virtual time.
//!
//! Every test prints its seed; `VITALWIRE_SEED=n cargo test --test sim` runs the seeded ones with that seed alone,
//! `VITALWIRE_SEEDS=n` with n times as many seeds.
//!
//! The rules that design out the known classes of bugs, and the tests here that fail without them:
//!
//! | rule | tests |
//! |---|---|
//! | nothing changes before authentication succeeds | all of `adversary` |
//! | a forged Reply or Finish does not kill a handshake | `adversary::forged_replies_and_finishes_do_not_kill_a_handshake` |
//! | a counter is used once, and only for what is sent | `delivery::a_short_output_buffer_uses_no_counter_and_loses_nothing` |
//! | everything is bounded | `amplification::half_open_handshakes_and_jobs_are_capped_and_expire`, `sessions::the_session_table_is_bounded_and_reused`, `sessions::unproved_sessions_of_one_identity_are_capped`, `lifecycle::an_application_that_never_commits_is_bounded_and_alarms_get_through`, `malicious::descriptors_that_nobody_named_are_not_kept` |
//! | network bytes never reach a panic | `adversary::discards_random_bytes`, `calls::any_order_of_calls_is_legal_and_loses_nothing` |
//! | three times the bytes, and no computation under load without a cookie | the rest of `amplification` |
//! | strangers are refused for little, and keep no device out | all of `admission` and `flood` |
//! | a ticket is used once | `thieves::a_stolen_ticket_is_found_out_whoever_uses_it_first`, `resume::a_hello_that_comes_again_at_another_node_delivers_nothing_twice` |
//! | a live session is displaced by a proved one only | `sessions::a_session_is_displaced_only_when_the_new_one_is_proved`, `sessions::a_replayed_hello_displaces_nothing` |
//! | low-order points are rejected | `malicious::low_order_and_repeated_rekey_requests_are_harmless` |
//! | authorisation is deny by default | `delivery::an_empty_grant_permits_nothing`, `delivery::records_out_of_scope_are_refused_and_reported_and_hold_up_nobody` |
//! | what is revoked, narrowed or over ends at once, in whatever state | all of `revocation`, `authorisation` and `narrowed` |
//! | an application that answers nobody, or stores nothing, holds up nobody else | all of `stuck` |
//! | a store of claims is asked for real devices | all of `claims` |
//! | a command is done once, in its session and boot, in time, for who may | all of `commands` |
//! | no clock that was set gives a wrong time silently, lets in what has expired, or ends what has not | all of `clocks` and `jumps` |

mod accountability;
mod admission;
mod adversary;
mod amplification;
mod app;
mod audit;
mod authorisation;
mod calls;
mod claims;
mod clocks;
mod commands;
mod counters;
mod damage;
mod delivery;
mod discards;
mod drain;
mod entropy;
mod facing;
mod flood;
mod full_storage;
mod growth;
mod handshakes;
mod jumps;
mod kit;
mod lanes;
mod lifecycle;
mod link;
mod listening;
mod losses;
mod malicious;
mod narrowed;
mod pins;
mod powercuts;
mod puppet;
mod reconnect;
mod rekeys;
mod renewal;
mod resume;
mod revocation;
mod roaming;
mod salts;
mod sessions;
mod steps;
mod storage;
mod stuck;
mod thieves;
mod tickets;
mod ward;
mod world;
